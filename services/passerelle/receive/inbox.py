"""Read a department's inbox: what the gate committed, each delivery and each notice of erasure once.

*Released* means committed to the inbox as a read_committed reader sees it (DESIGN §7), so this reader always reads so:
there is no setting for it. Offsets are committed after the handler has returned. A reader that dies between the two
meets the same deliveries again, with the same decision ids: a handler that writes elsewhere stores that id with it.

A notice of erasure stands behind all that was delivered about the pseudonym (GDPR Art. 19). Whoever reads an inbox says
what becomes of one: there is no default, since passing over it in silence would be the wrong one.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError, TopicAuthorizationFailedError

from passerelle.config import KafkaAccess
from passerelle.envelope import BadEnvelope, Event, parse_event
from passerelle.pseudonyms import REF_BYTES
from passerelle_schemas.catalogue import Catalogue, UnknownContract
from passerelle_schemas.codec import Undecodable
from passerelle_schemas.faults import Fault
from passerelle_schemas.topics import SUBJECT_ERASED, inbox

BATCH_MAX = 500
"""Deliveries handed over, and committed, together: what a handler may have to do again after a crash."""
POLL_MS = 500
"""How long one poll waits; it bounds how late the end of the inbox is noticed."""
SEEN_MAX = 100_000
"""Ids of decisions and erasures remembered: some minutes of a large city's traffic, about 10 MB. A replay follows its
original closely, as it comes from an uncommitted batch."""
START_ATTEMPTS = 5
FIRST_PAUSE_S = 0.25
"""Doubled each time: five attempts last 4 s, a broker that is being restarted included."""
ID_BYTES = 16
HANDLER_MS_MAX = 4 * 3_600_000
"""How long a batch may take before another reader of the group gets it: a webhook may wait for its receiver with each
delivery. A process that is gone is noticed within seconds whatever this is."""


class InboxFault(Fault):
    """The inbox cannot be read, or holds what no gate of this city wrote. Nothing is passed over."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """One event that the gate let through, with the fields that the recipient may have."""

    decision_id: bytes
    """16 bytes; the leaf of the ledger that says why this was delivered."""
    flow: str
    purpose: str
    type: str
    event_id: str
    source: str
    """CloudEvents `source`: `/department/<id>`."""
    pseudonym: bytes = field(repr=False)
    """16 bytes: the recipient's own name for the subject."""
    value: dict[str, Any] = field(repr=False)
    time: datetime
    """When the event happened (``ce_time``)."""
    partition: int
    offset: int
    appended: datetime
    """When the broker appended the delivery (``LogAppendTime``)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Erased:
    """The bus has forgotten this subject: erase your copies, unless the law makes you keep them (GDPR Art. 17(3))."""

    erasure_id: bytes
    """16 bytes; acknowledge it: ``POST /v1/erasures/{id}/acknowledgement``."""
    pseudonym: bytes = field(repr=False)
    """16 bytes; it may be of somebody of whom this department never received anything."""
    time: datetime
    """When the erasure was asked for."""
    partition: int
    offset: int


Handler = Callable[[Delivery], Awaitable[None]]
ErasedHandler = Callable[[Erased], Awaitable[None]]


class InboxReader:
    """Reads one department's inbox in its consumer group. An asynchronous context manager.

    ``group`` is for an observer that must not take the department's place; a department leaves it out.
    Raises `InboxFault`.
    """

    def __init__(self, access: KafkaAccess, department: str, catalogue: Catalogue, *, group: str | None = None) -> None:
        self._access = access
        self._topic = inbox(department)
        self._group = group or inbox(department)
        self._catalogue = catalogue
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._consumer: AIOKafkaConsumer | None = None
        self.duplicates = 0
        """Deliveries met again and not handed over twice."""

    async def __aenter__(self) -> Self:
        pause_s = FIRST_PAUSE_S
        for attempt in range(1, START_ATTEMPTS + 1):
            consumer = self._client()
            try:
                await consumer.start()
            except KafkaError as exc:
                await consumer.stop()
                if attempt == START_ATTEMPTS or not exc.retriable:
                    raise self._refused(exc) from None
                await asyncio.sleep(pause_s)
                pause_s *= 2
            except BaseException:  # Ctrl-C while connecting
                await consumer.stop()
                raise
            else:
                self._consumer = consumer
                return self
        raise AssertionError  # the last attempt raised or returned

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._consumer is not None:
            await self._consumer.stop()

    async def handle(
        self, handler: Handler, *, on_erased: ErasedHandler, follow: bool = True, limit: int | None = None
    ) -> int:
        """Hand every delivery to ``handler`` and every notice to ``on_erased``, one after the other; return how many.

        Without ``follow``, ends at what was committed to the inbox when the reading began. What was handed over is
        committed when its batch is through, also when the handler raises: then up to the delivery before.
        """
        handled = 0
        async for batch in self._batches(follow=follow):
            done: dict[TopicPartition, int] = {}
            try:
                for record in batch:
                    if limit is not None and handled >= limit:
                        return handled
                    if await self._one(record, handler, on_erased):
                        handled += 1
                    done[TopicPartition(record.topic, record.partition)] = record.offset + 1
            finally:
                await self._commit(done)
            if limit is not None and handled >= limit:
                return handled
        return handled

    async def _one(self, record: "ConsumerRecord[bytes, bytes]", handler: Handler, on_erased: ErasedHandler) -> bool:
        event = self._event(record)
        read = self._erased(record, event) if event.type == SUBJECT_ERASED else self._delivery(record, event)
        ident = read.erasure_id if isinstance(read, Erased) else read.decision_id
        if ident in self._seen:
            self.duplicates += 1
            return False
        await (on_erased(read) if isinstance(read, Erased) else handler(read))
        self._seen[ident] = None
        if len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)
        return True

    async def _batches(self, *, follow: bool) -> AsyncIterator["list[ConsumerRecord[bytes, bytes]]"]:
        consumer = self._started()
        ends = None if follow else await self._ends(consumer)
        while ends is None or not await self._reached(consumer, ends):
            try:
                polled = await consumer.getmany(timeout_ms=POLL_MS, max_records=BATCH_MAX)
            except KafkaError as exc:
                raise self._refused(exc) from None
            batch = [record for records in polled.values() for record in records]
            if batch:
                yield batch

    async def _ends(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
        """Return the last stable offsets: a read_committed consumer is told these, not the ends of the log."""
        try:
            partitions = [TopicPartition(self._topic, p) for p in consumer.partitions_for_topic(self._topic) or ()]
            ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
        except KafkaError as exc:
            raise self._refused(exc) from None
        return ends

    async def _reached(self, consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> bool:
        """Whether this reader has read all of its share up to ``ends``; another member reads what is not its share."""
        for partition in consumer.assignment():
            if await consumer.position(partition) < ends.get(partition, 0):
                return False
        return True

    async def _commit(self, done: dict[TopicPartition, int]) -> None:
        if not done:
            return
        try:
            await self._started().commit(done)
        except KafkaError as exc:
            raise self._refused(exc) from None

    def _event(self, record: "ConsumerRecord[bytes, bytes]") -> Event:
        try:
            return parse_event(record.headers)
        except BadEnvelope as exc:
            raise self._unreadable(record, exc.what) from None

    def _erased(self, record: "ConsumerRecord[bytes, bytes]", event: Event) -> Erased:
        try:
            erasure, time = bytes.fromhex(event.id), datetime.fromisoformat(event.time)
        except ValueError as exc:
            raise self._unreadable(record, f"a header is malformed ({type(exc).__name__})") from None
        if len(erasure) != ID_BYTES or len(record.key or b"") != REF_BYTES or record.value:
            raise self._unreadable(record, "id, key or body is not what the gate writes in a notice of erasure")
        return Erased(
            erasure_id=erasure,
            pseudonym=record.key or b"",
            time=time,
            partition=record.partition,
            offset=record.offset,
        )

    def _delivery(self, record: "ConsumerRecord[bytes, bytes]", event: Event) -> Delivery:
        try:
            contract, value = self._catalogue.decode(record.value)
            time = datetime.fromisoformat(event.time)
            headers = dict(record.headers)
            decision = bytes.fromhex(headers["ce_decisionid"].decode())
            flow, purpose = headers["ce_flow"].decode(), headers["ce_purpose"].decode()
        except (Undecodable, UnknownContract) as exc:
            raise self._unreadable(record, exc.what) from None
        except (KeyError, ValueError) as exc:
            raise self._unreadable(record, f"a header is missing or malformed ({type(exc).__name__})") from None
        if contract.type != event.type or len(decision) != ID_BYTES or len(record.key or b"") != REF_BYTES:
            raise self._unreadable(record, "type, decision id or key is not what the gate writes")
        return Delivery(
            decision_id=decision,
            flow=flow,
            purpose=purpose,
            type=contract.type,
            event_id=event.id,
            source=event.source,
            pseudonym=record.key or b"",
            value=value,
            time=time,
            partition=record.partition,
            offset=record.offset,
            appended=datetime.fromtimestamp(record.timestamp / 1000, UTC),
        )

    def _unreadable(self, record: "ConsumerRecord[bytes, bytes]", problem: str) -> InboxFault:
        place = f"{record.topic}[{record.partition}]@{record.offset}"
        return InboxFault(problem, where=place, hint="do the contracts of this department match the gate's?")

    def _started(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise InboxFault("the reader is not started", where=self._topic)
        return self._consumer

    def _client(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            self._topic,
            **self._access.aiokafka(),
            client_id=f"receive.{self._topic}",
            group_id=self._group,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_interval_ms=HANDLER_MS_MAX,
        )

    def _refused(self, exc: KafkaError) -> InboxFault:
        if isinstance(exc, TopicAuthorizationFailedError | GroupAuthorizationFailedError):
            return InboxFault(f"the broker does not let {self._access.username} read", where=self._topic)
        return InboxFault(
            f"the broker cannot be used ({type(exc).__name__})",
            where=self._access.bootstrap_servers,
            hint="is it up? passerelle kafka status   are the passwords set? passerelle city apply",
        )
