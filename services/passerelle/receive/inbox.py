"""Read a department's inbox: what the gate committed, each delivery once.

*Released* means committed to the inbox as a read_committed reader sees it (DESIGN §7), so this reader always reads so:
there is no setting for it. Offsets are committed after the handler has returned. A reader that dies between the two
meets the same deliveries again, with the same decision ids: a handler that writes elsewhere stores that id with it.
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
from passerelle.envelope import BadEnvelope, parse_event
from passerelle.pseudonyms import REF_BYTES
from passerelle_schemas.catalogue import Catalogue, UnknownContract
from passerelle_schemas.codec import Undecodable
from passerelle_schemas.faults import Fault
from passerelle_schemas.topics import inbox

BATCH_MAX = 500
"""Deliveries handed over, and committed, together: what a handler may have to do again after a crash."""
POLL_MS = 500
"""How long one poll waits; it bounds how late the end of the inbox is noticed."""
SEEN_MAX = 100_000
"""Decision ids remembered: some minutes of a large city's traffic, about 10 MB. A replay follows its original closely,
as it comes from an uncommitted batch."""
START_ATTEMPTS = 5
FIRST_PAUSE_S = 0.25
"""Doubled each time: five attempts last 4 s, a broker that is being restarted included."""
DECISION_BYTES = 16


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
    pseudonym: bytes = field(repr=False)
    """16 bytes: the recipient's own name for the subject."""
    value: dict[str, Any] = field(repr=False)
    time: datetime
    """When the event happened (``ce_time``)."""
    partition: int
    offset: int
    appended: datetime
    """When the broker appended the delivery (``LogAppendTime``)."""


Handler = Callable[[Delivery], Awaitable[None]]


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

    async def handle(self, handler: Handler, *, follow: bool = True, limit: int | None = None) -> int:
        """Hand every delivery to ``handler``, one after the other; return how many.

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
                    if await self._one(record, handler):
                        handled += 1
                    done[TopicPartition(record.topic, record.partition)] = record.offset + 1
            finally:
                await self._commit(done)
            if limit is not None and handled >= limit:
                return handled
        return handled

    async def _one(self, record: "ConsumerRecord[bytes, bytes]", handler: Handler) -> bool:
        delivery = self._delivery(record)
        if delivery.decision_id in self._seen:
            self.duplicates += 1
            return False
        await handler(delivery)
        self._seen[delivery.decision_id] = None
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

    def _delivery(self, record: "ConsumerRecord[bytes, bytes]") -> Delivery:
        try:
            event = parse_event(record.headers)
            contract, value = self._catalogue.decode(record.value)
            time = datetime.fromisoformat(event.time)
            headers = dict(record.headers)
            decision = bytes.fromhex(headers["ce_decisionid"].decode())
            flow, purpose = headers["ce_flow"].decode(), headers["ce_purpose"].decode()
        except (BadEnvelope, Undecodable, UnknownContract) as exc:
            raise self._unreadable(record, exc.what) from None
        except (KeyError, ValueError) as exc:
            raise self._unreadable(record, f"a header is missing or malformed ({type(exc).__name__})") from None
        if contract.type != event.type or len(decision) != DECISION_BYTES or len(record.key or b"") != REF_BYTES:
            raise self._unreadable(record, "type, decision id or key is not what the gate writes")
        return Delivery(
            decision_id=decision,
            flow=flow,
            purpose=purpose,
            type=contract.type,
            event_id=event.id,
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
        )

    def _refused(self, exc: KafkaError) -> InboxFault:
        if isinstance(exc, TopicAuthorizationFailedError | GroupAuthorizationFailedError):
            return InboxFault(f"the broker does not let {self._access.username} read", where=self._topic)
        return InboxFault(
            f"the broker cannot be used ({type(exc).__name__})",
            where=self._access.bootstrap_servers,
            hint="is it up? passerelle kafka status   are the passwords set? passerelle city apply",
        )
