"""Judge a batch of proposals. Pure: records, knowledge and the instant in; decisions and deliveries out.

Each record of the exchange ends in exactly one of three ways:

* a **replay** (at or below its source's mark): dropped and counted, since its decision is made;
* a **decision**, with a delivery when it is permit or redact;
* the decision ``deny: unreadable`` or ``deny: wrong-type``, with a dead letter: closed by default.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from passerelle.envelope import BadEnvelope, Headers, Proposal, parse_proposal
from passerelle.gate.marks import Advances, exchange_origin
from passerelle.gate.policy import FlowPlan, PolicyInForce
from passerelle.pseudonyms import REF_BYTES, Keyring
from passerelle_consent.policy.decide import Decision, Reason, Verdict
from passerelle_consent.policy.standings import Standings
from passerelle_consent.wire import (
    BadRecord,
    DeadLetter,
    DecisionBatch,
    DecisionRecord,
    FlowUse,
    Mark,
    Origin,
    decision_id,
)
from passerelle_schemas.codec import Undecodable, schema_id_of
from passerelle_schemas.faults import Fault
from passerelle_schemas.topics import EXCHANGE, inbox

COMPONENT = "gate"

PROPOSAL_BYTES_MAX = 900_000
"""A delivery has other headers than its proposal, and a few bytes more. A proposal so near Kafka's limit of 1 MiB that
its delivery might not fit would fail the same transaction for ever."""

_LONG_MAX, _INT_MAX = 2**63 - 1, 2**31 - 1


class Record(NamedTuple):
    """One raw record of the exchange."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers | None


class Outgoing(NamedTuple):
    """A delivery that has no pseudonym yet."""

    ref: bytes
    value: bytes
    headers: Headers


class Delivery(NamedTuple):
    """One record for an inbox, on the partition of the task."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """What a batch became. Nothing of it is in force until its transaction commits."""

    decisions: DecisionBatch
    deliveries: tuple[Delivery, ...]
    dead_letters: tuple[DeadLetter, ...]
    moved: Mapping[bytes, Mark]
    """The marks that this batch moves."""
    counts: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Grounds:
    """What a task judges by: its partition's standings, policy and marks, and the departments' keys."""

    partition: int
    policy: PolicyInForce
    standings: Standings
    marks: Mapping[bytes, Mark]
    keyring: Keyring


class _Rejected(Exception):
    """A record that cannot be decided on its merits; ``error`` is the class of what was wrong with it."""

    def __init__(self, reason: Reason, error: str) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.error = error


def judge(records: Iterable[Record], grounds: Grounds, now_ms: int) -> Judged:
    """Judge the records in their order, all at the instant ``now_ms`` (epoch milliseconds)."""
    batch = _Batch(grounds, now_ms)
    for record in records:
        batch.take(record)
    return batch.close()


@dataclass(slots=True)
class _Outcome:
    """How often the table gave this very decision: a batch has few, so nothing else is counted record by record."""

    decision: Decision
    times: int = 0


class _Batch:
    """One batch while it is judged."""

    def __init__(self, grounds: Grounds, now_ms: int) -> None:
        self._grounds = grounds
        self._now_ms = now_ms
        self._advances = Advances(grounds.marks)
        self._decisions: list[DecisionRecord] = []
        self._flows: dict[str, tuple[int, FlowUse]] = {}
        self._outgoing: dict[str, list[Outgoing]] = {}
        self._dead_letters: list[DeadLetter] = []
        self._counts: Counter[str] = Counter()
        self._outcomes: dict[int, _Outcome] = {}

    def take(self, record: Record) -> None:
        """Judge one record."""
        try:
            proposal, ref, value = _read(record)
        except _Rejected as rejected:
            self._reject(record, _origin_of(record, self._grounds.partition), rejected)
            return
        if not self._advances.advance(proposal.origin):
            self._counts["replays_dropped"] += 1
            return
        try:
            self._decide(proposal, ref, value)
        except _Rejected as rejected:
            self._dead_letter(record, proposal.origin, rejected)
            self._conclude(proposal.origin, Decision(verdict=Verdict.DENY, reason=rejected.reason), ref, proposal.flow)

    def close(self) -> Judged:
        """The outcome of the batch."""
        return Judged(
            decisions=DecisionBatch(
                policy=self._grounds.policy.digest,
                flows=tuple(use for _, use in self._flows.values()),
                decisions=tuple(self._decisions),
            ),
            deliveries=tuple(d for r, o in self._outgoing.items() for d in _addressed(r, o, self._grounds.keyring)),
            dead_letters=tuple(self._dead_letters),
            moved=self._advances.moved,
            counts=self._counted(),
        )

    def _counted(self) -> Mapping[str, int]:
        for outcome in self._outcomes.values():
            decision = outcome.decision
            self._counts[decision.verdict.value] += outcome.times
            if decision.verdict is Verdict.DENY:
                self._counts[f"deny.{decision.reason.value}"] += outcome.times
        return self._counts

    def _decide(self, proposal: Proposal, ref: bytes, value: bytes) -> None:
        policy = self._grounds.policy
        plan = policy.plans.get(proposal.flow)
        if plan is not None:
            _check_value(plan, policy, proposal, value)
        standing = self._grounds.standings.at(ref, self._now_ms, policy.table.about(proposal.flow))
        decision = policy.table.decide(proposal.flow, standing, self._now_ms)
        if plan is not None and decision.withheld:
            value = _withhold(plan, value, decision.withheld)
        decided = self._conclude(proposal.origin, decision, ref, proposal.flow)
        if plan is not None and decision.verdict is not Verdict.DENY:
            self._release(plan, Outgoing(ref, value, _headers(plan, proposal, decided)))

    def _release(self, plan: FlowPlan, outgoing: Outgoing) -> None:
        recipient = plan.flow.recipient
        if recipient not in self._outgoing:
            self._outgoing[recipient] = []
        self._outgoing[recipient].append(outgoing)

    def _conclude(self, origin: Origin, decision: Decision, ref: bytes | None, flow: str | None) -> bytes:
        decided = decision_id(origin)
        self._decisions.append(
            DecisionRecord(
                id=decided,
                at_ms=self._now_ms,
                verdict=decision.verdict,
                reason=decision.reason,
                flow=self._flow_index(flow),
                withheld=decision.withheld,
                subject=ref,
                origin=origin,
            )
        )
        outcome = self._outcomes.get(id(decision))
        if outcome is None:
            outcome = self._outcomes[id(decision)] = _Outcome(decision)
        outcome.times += 1
        return decided

    def _flow_index(self, flow: str | None) -> int:
        """Index into the batch's flows; -1 for one that the policy does not know: its name may be anything."""
        if flow in self._flows:
            return self._flows[flow][0]
        plan = self._grounds.policy.plans.get(flow or "")
        if plan is None:
            return -1
        index = len(self._flows)
        self._flows[plan.flow.id] = (index, plan.use)
        return index

    def _reject(self, record: Record, origin: Origin, rejected: _Rejected) -> None:
        if not self._advances.advance(origin):
            self._counts["replays_dropped"] += 1
            return
        self._dead_letter(record, origin, rejected)
        ref = record.key if record.key is not None and len(record.key) == REF_BYTES else None
        self._conclude(origin, Decision(verdict=Verdict.DENY, reason=rejected.reason), ref, None)

    def _dead_letter(self, record: Record, origin: Origin, rejected: _Rejected) -> None:
        self._counts["dead_letters"] += 1
        self._dead_letters.append(
            DeadLetter(
                component=COMPONENT,
                reason=rejected.reason.value,
                topic=EXCHANGE,
                partition=self._grounds.partition,
                offset=record.offset,
                rule=origin.rule if origin.topic != EXCHANGE else None,
                error=rejected.error,
            )
        )


def _headers(plan: FlowPlan, proposal: Proposal, decided: bytes) -> Headers:
    """`envelope.delivery_headers`, with what all deliveries of the flow share encoded once."""
    event = proposal.event
    return [
        *plan.headers,
        ("ce_id", event.id.encode()),
        ("ce_source", event.source.encode()),
        ("ce_time", event.time.encode()),
        ("ce_decisionid", decided.hex().encode()),
    ]


def _addressed(recipient: str, outgoing: list[Outgoing], keyring: Keyring) -> Iterable[Delivery]:
    """To one inbox, in the order of the proposals. The pseudonyms of all are one call of AES."""
    topic = inbox(recipient)
    keys = keyring.pseudonyms(recipient, b"".join(o.ref for o in outgoing))
    for at, (_, value, headers) in enumerate(outgoing):
        yield Delivery(topic, keys[at * REF_BYTES : (at + 1) * REF_BYTES], value, headers)


def _read(record: Record) -> tuple[Proposal, bytes, bytes]:
    try:
        proposal = parse_proposal(record.headers)
    except BadEnvelope:
        raise _Rejected(Reason.UNREADABLE, "BadEnvelope") from None
    if not _storable(proposal.origin):
        raise _Rejected(Reason.UNREADABLE, "BadEnvelope")
    if record.key is None or len(record.key) != REF_BYTES:
        raise _Rejected(Reason.UNREADABLE, "NotASubjectRef")
    if record.value is None or len(record.value) > PROPOSAL_BYTES_MAX:
        raise _Rejected(Reason.UNREADABLE, "NoValue" if record.value is None else "TooLarge")
    return proposal, record.key, record.value


def _origin_of(record: Record, partition: int) -> Origin:
    """The origin that its header tells, even when nothing else can be read; else where the record lies."""
    try:
        origin = Origin.parse(dict(record.headers or ())["ce_origin"].decode())
    except (KeyError, AttributeError, UnicodeDecodeError, BadRecord):
        return exchange_origin(partition, record.offset)
    return origin if _storable(origin) else exchange_origin(partition, record.offset)


def _storable(origin: Origin) -> bool:
    """Whether its numbers are Kafka's: an offset is 64 bits, a partition and n are 32."""
    return origin.offset <= _LONG_MAX and origin.partition <= _INT_MAX and origin.n <= _INT_MAX


def _check_value(plan: FlowPlan, policy: PolicyInForce, proposal: Proposal, value: bytes) -> None:
    """The whole value must be one Avro record of the flow's event: what is passed on unread is passed on blindly."""
    try:
        schema_id = schema_id_of(value)
        if schema_id != plan.contract.schema_id:
            policy.catalogue.by_id(schema_id)
            raise _Rejected(Reason.WRONG_TYPE, "WrongSchema")
        plan.contract.decode(value)
    except Fault as exc:
        raise _Rejected(Reason.UNREADABLE, type(exc).__name__) from None
    if proposal.event.type != plan.flow.event:
        raise _Rejected(Reason.WRONG_TYPE, "WrongType")


def _withhold(plan: FlowPlan, value: bytes, fields: tuple[str, ...]) -> bytes:
    try:
        return plan.splicer.withhold(value, fields)
    except Undecodable as exc:
        raise _Rejected(Reason.UNREADABLE, type(exc).__name__) from None
