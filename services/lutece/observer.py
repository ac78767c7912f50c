"""An independent observer of a run: it reads the topics with credentials of its own and counts what it sees.

Nothing here asks the gate, the agents or the consent service what they did.
"""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

from passerelle.config import KafkaAccess
from passerelle.envelope import BadEnvelope, parse_event, parse_proposal
from passerelle_consent.policy.decide import Verdict
from passerelle_consent.wire import DeadLetter, decode_decisions
from passerelle_schemas.catalogue import Catalogue
from passerelle_schemas.faults import Fault
from passerelle_schemas.topics import DECISIONS, EXCHANGE, SUBJECT_ERASED

CONSUME_RECORDS_MAX = 2_000
CONSUME_SECONDS = 0.02  # an arrival is timed to within this


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """One record of an inbox, without what it says: only which fields hold something."""

    recipient: str
    partition: int
    offset: int
    pseudonym: bytes = field(repr=False)
    flow: str
    proposal: str
    decision: str
    filled: frozenset[str]
    arrived_ms: float


@dataclass(kw_only=True)
class Sightings:
    """Everything seen so far."""

    published: Counter[str] = field(default_factory=Counter)
    """Event type → records on its outbox."""
    unreadable_events: int = 0
    """Records on outboxes that are not events."""
    appended_ms: dict[tuple[str, int, int], int] = field(default_factory=dict)
    """Outbox coordinates → when the broker appended it."""
    proposals: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Origin → (flow, proposal id); a replay has the same origin."""
    exchanged: int = 0
    """Records on the exchange, replays included."""
    decisions: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(flow, verdict, reason) → how many."""
    decided: Counter[bytes] = field(default_factory=Counter)
    """Decision id → how often: more than once would break P2."""
    deliveries: list[Delivery] = field(default_factory=list)
    dead_letters: Counter[str] = field(default_factory=Counter)
    decision_of: dict[str, str] = field(default_factory=dict)
    """Origin → verdict."""

    def permitted(self) -> int:
        """How many decisions let something pass."""
        return sum(n for (_, verdict, _), n in self.decisions.items() if verdict != Verdict.DENY)

    def latencies_ms(self, flow: str | None = None) -> list[float]:
        """From the append to the outbox until the delivery was seen; of one flow, or of all."""
        source = {proposal: origin for origin, (_, proposal) in self.proposals.items()}
        found = []
        for d in self.deliveries:
            if flow in (None, d.flow) and d.proposal in source:
                _, topic, partition, offset, _ = source[d.proposal].split(";")
                appended = self.appended_ms.get((topic, int(partition), int(offset)))
                if appended is not None:
                    found.append(d.arrived_ms - appended)
        return found

    def filled_by_person(self) -> Mapping[tuple[str, int, bytes], Sequence[Delivery]]:
        """(recipient, partition, pseudonym) → deliveries, in the inbox's order."""
        grouped: defaultdict[tuple[str, int, bytes], list[Delivery]] = defaultdict(list)
        for d in sorted(self.deliveries, key=lambda d: d.offset):
            grouped[d.recipient, d.partition, d.pseudonym].append(d)
        return grouped


class ObserverFault(Fault):
    """The observer cannot read on: what it counted would be wrong."""


class Observer:
    """Reads all that it may from the beginning, read_committed, in a thread. A context manager."""

    def __init__(self, access: KafkaAccess, topics: Iterable[str], catalogue: Catalogue) -> None:
        self.seen = Sightings()
        self._catalogue = catalogue
        self._topics = tuple(topics)
        self._stop = threading.Event()
        self._fault: str | None = None
        self._consumer = Consumer(
            {
                **access.confluent(),
                "group.id": "observer",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 20,
                "fetch.queue.backoff.ms": 5,
            }
        )
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)

    def __enter__(self) -> Self:
        known = self._consumer.list_topics(timeout=10).topics
        missing = [t for t in self._topics if t not in known]
        if missing:
            raise ObserverFault(f"topic {missing[0]} cannot be seen", hint="passerelle city apply")
        self._consumer.assign(
            [TopicPartition(t, p, OFFSET_BEGINNING) for t in self._topics for p in known[t].partitions]
        )
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def check(self) -> None:
        """Raise `ObserverFault` when something could not be read."""
        if self._fault:
            raise ObserverFault(self._fault)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                for message in self._consumer.consume(CONSUME_RECORDS_MAX, CONSUME_SECONDS):
                    self._take(message)
        except Fault as fault:
            self._fault = fault.what

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            if not error.retriable() and error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - the library's name
                raise ObserverFault(f"{message.topic()}: {error.name()}")
            return
        topic = str(message.topic())
        if topic.startswith("outbox."):
            self._event(message)
        elif topic == EXCHANGE:
            self._proposal(message)
        elif topic == DECISIONS:
            self._decisions(message)
        elif topic.startswith("inbox."):
            self._delivery(topic.removeprefix("inbox."), message)
        else:
            self.seen.dead_letters[DeadLetter.decode(_value(message)).reason] += 1

    def _event(self, message: Message) -> None:
        try:
            self.seen.published[parse_event(_headers(message)).type] += 1
        except BadEnvelope:
            self.seen.unreadable_events += 1
        self.seen.appended_ms[_coordinates(message)] = message.timestamp()[1]

    def _proposal(self, message: Message) -> None:
        self.seen.exchanged += 1
        try:
            proposal = parse_proposal(_headers(message))
        except BadEnvelope:
            return  # the gate decides on it as unreadable, under its exchange coordinates
        self.seen.proposals[proposal.origin.text()] = (proposal.flow, proposal.event.id)

    def _decisions(self, message: Message) -> None:
        batch = decode_decisions(_value(message))
        for d in batch.decisions:
            flow = batch.flows[d.flow].flow if d.flow >= 0 else ""
            self.seen.decisions[flow, d.verdict.value, d.reason.value] += 1
            self.seen.decided[d.id] += 1
            if d.origin is not None:
                self.seen.decision_of[d.origin.text()] = d.verdict.value

    def _delivery(self, recipient: str, message: Message) -> None:
        arrived_ms = time.time() * 1000
        headers = dict(_headers(message))
        if headers["ce_type"].decode() == SUBJECT_ERASED:
            return
        _, value = self._catalogue.decode(message.value())
        self.seen.deliveries.append(
            Delivery(
                recipient=recipient,
                partition=int(message.partition() or 0),
                offset=int(message.offset() or 0),
                pseudonym=bytes(message.key() or b""),
                flow=headers["ce_flow"].decode(),
                proposal=headers["ce_id"].decode(),
                decision=headers["ce_decisionid"].decode(),
                filled=frozenset(name for name, held in value.items() if held is not None),
                arrived_ms=arrived_ms,
            )
        )


def _coordinates(message: Message) -> tuple[str, int, int]:
    return str(message.topic()), int(message.partition() or 0), int(message.offset() or 0)


def _headers(message: Message) -> list[tuple[str, bytes]]:
    return cast("list[tuple[str, bytes]]", message.headers() or [])


def _value(message: Message) -> bytes:
    return bytes(message.value() or b"")
