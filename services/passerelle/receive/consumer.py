"""One member of a department's consumer group on its inbox: always read_committed, never committing by itself."""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
)

from passerelle.config import KafkaAccess
from passerelle.receive.delivery import InboxFault, InboxRecord
from passerelle_schemas.topics import inbox

if TYPE_CHECKING:
    from aiokafka.abc import ConsumerRebalanceListener

BATCH_MAX = 500
"""Records of one poll: what a handler may have to do again after a crash, or what one transaction holds."""
POLL_MS = 500
"""How long one poll waits; it bounds how late the end of the inbox is noticed."""
START_ATTEMPTS = 5
FIRST_PAUSE_S = 0.25
"""Doubled each time: five attempts last 4 s, a broker that is being restarted included."""
HANDLER_MS_MAX = 4 * 3_600_000
"""How long a batch may take before another reader of the group gets it: a webhook may wait for its receiver with each
delivery. A process that is gone is noticed within seconds whatever this is."""

Polled = Mapping[TopicPartition, list[InboxRecord]]


class OffsetsGone(InboxFault):
    """The inbox does not hold the offset that comes next: the caller seeks."""


class InboxConsumer:
    """An asynchronous context manager. Raises `InboxFault`."""

    def __init__(
        self,
        access: KafkaAccess,
        department: str,
        *,
        group: str | None = None,
        reset: str = "earliest",
        listener: "ConsumerRebalanceListener | None" = None,
    ) -> None:
        """``reset``: where to begin without a committed offset; ``none`` where the caller seeks."""
        self.topic = inbox(department)
        self._access = access
        self._group = group or self.topic
        self._reset = reset
        self._listener = listener
        self._consumer: AIOKafkaConsumer | None = None

    async def __aenter__(self) -> Self:
        pause_s = FIRST_PAUSE_S
        for attempt in range(1, START_ATTEMPTS + 1):
            consumer = self._client()
            try:
                await consumer.start()
            except KafkaError as exc:
                await consumer.stop()
                if attempt == START_ATTEMPTS or not exc.retriable:
                    raise self.refused(exc) from None
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

    @property
    def client(self) -> AIOKafkaConsumer:
        """The started client."""
        if self._consumer is None:
            raise InboxFault("the reader is not started", where=self.topic)
        return self._consumer

    async def poll(self) -> Polled:
        """Return what came within `POLL_MS`, at most `BATCH_MAX` records. Raises `OffsetsGone` too."""
        try:
            polled: Polled = await self.client.getmany(timeout_ms=POLL_MS, max_records=BATCH_MAX)
        except (NoOffsetForPartitionError, OffsetOutOfRangeError) as exc:
            raise OffsetsGone(f"an offset that is not there ({type(exc).__name__})", where=self.topic) from None
        except KafkaError as exc:
            raise self.refused(exc) from None
        return polled

    async def ends(self) -> dict[TopicPartition, int]:
        """Return the last stable offsets: a read_committed consumer is told these, not the ends of the log."""
        try:
            found = self.client.partitions_for_topic(self.topic) or ()
            ends: dict[TopicPartition, int] = await self.client.end_offsets([self.partition(p) for p in found])
        except KafkaError as exc:
            raise self.refused(exc) from None
        return ends

    async def reached(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Whether this reader has read all of its share up to ``ends``; another member reads what is not its share."""
        for partition in self.client.assignment():
            if await self.client.position(partition) < ends.get(partition, 0):
                return False
        return True

    async def commit(self, done: Mapping[TopicPartition, int]) -> None:
        """Commit the offsets that come next."""
        if not done:
            return
        try:
            await self.client.commit(dict(done))
        except KafkaError as exc:
            raise self.refused(exc) from None

    def partition(self, number: int) -> TopicPartition:
        """Return a partition of this inbox."""
        return TopicPartition(self.topic, number)

    def refused(self, exc: KafkaError) -> InboxFault:
        """Say what a client's error means."""
        if isinstance(exc, TopicAuthorizationFailedError | GroupAuthorizationFailedError):
            return InboxFault(f"the broker does not let {self._access.username} read", where=self.topic)
        return InboxFault(
            f"the broker cannot be used ({type(exc).__name__})",
            where=self._access.bootstrap_servers,
            hint="is it up? passerelle kafka status   are the passwords set? passerelle city apply",
        )

    def _client(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            **self._access.aiokafka(),
            client_id=f"receive.{self.topic}",
            group_id=self._group,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset=self._reset,
            max_poll_interval_ms=HANDLER_MS_MAX,
        )
        consumer.subscribe([self.topic], listener=self._listener)
        return consumer
