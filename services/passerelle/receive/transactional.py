"""Apply an inbox to a recipient's own database, each delivery and each notice of erasure exactly once.

The records of one poll and one partition are one transaction of the recipient's. Its first statement moves the
partition's position on (`receive.positions`), from where this reader believes it to be. Whoever else reads the
partition waits for that row, and then finds that it was overtaken. A crash at any point leaves both, what was applied
and how far, or neither.

Reading begins at the position in the database; where there is none yet, at the oldest delivery that the inbox holds.
Between a revocation and the next assignment nothing is taken, and after it every partition is sought anew.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeVar

import structlog
from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from passerelle.config import KafkaAccess
from passerelle.receive import positions
from passerelle.receive.consumer import InboxConsumer, OffsetsGone, Polled
from passerelle.receive.delivery import Delivery, Erased, InboxFault, InboxRecord, parse
from passerelle.receive.positions import Database, DatabaseLost, T
from passerelle_schemas.catalogue import Catalogue

PATIENCE_S = 120.0
RETRY_S_FIRST, RETRY_S_MAX = 0.2, 5.0
"""Doubled after each failure in a row."""

Read = TypeVar("Read", Delivery, Erased)
Handler = Callable[[Read, T], Awaitable[None]]
"""What a recipient does with one of them, in its own open transaction."""

_log = structlog.get_logger("inbox")


class DeliveriesLost(InboxFault):
    """The inbox has deleted deliveries that were never read here: its retention ended first."""

    exit_code = 1


class _Overtaken(Exception):
    """Another reader has moved the position on: this transaction is undone."""


@dataclass(kw_only=True)
class Counts:
    """What a reader has done."""

    applied: int = 0
    overtaken: int = 0
    """Batches that another reader had applied."""


class _Places(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """Which offset comes next in each partition that this reader may take; all are forgotten at each rebalance."""

    def __init__(self) -> None:
        self.next: dict[int, int] = {}
        self.moving = True
        """Between a revocation and the next assignment: what the client holds is nobody's."""
        self.generation = 0

    def forget(self) -> None:
        """Seek everything anew."""
        self.next.clear()
        self.generation += 1

    def set(self, partition: int, offset: int, generation: int) -> None:
        """Say what comes next, unless there was a rebalance since ``generation``."""
        if generation == self.generation:
            self.next[partition] = offset

    def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:  # noqa: ARG002 - aiokafka's
        """Take nothing until the next assignment."""
        self.moving = True
        self.forget()

    def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:  # noqa: ARG002 - aiokafka's
        """Seek, then take."""
        self.forget()
        self.moving = False


class TransactionalInbox(Generic[T]):
    """Reads one department's inbox into its database. An asynchronous context manager; one `apply` at a time.

    Raises `InboxFault`, `DatabaseFault`, and `DatabaseLost` when its patience is at an end.
    """

    def __init__(
        self,
        access: KafkaAccess,
        department: str,
        catalogue: Catalogue,
        database: Database[T],
        *,
        accept_lost: bool = False,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """``accept_lost``: go on behind deliveries that the inbox's retention deleted before they were read here.

        ``patience_s``: how long the database may be away.
        """
        self._places = _Places()
        self._consumer = InboxConsumer(access, department, reset="none", listener=self._places)
        self._topic = self._consumer.topic
        self._catalogue = catalogue
        self._database = database
        self._accept_lost = accept_lost
        self._patience_s = patience_s
        self.counts = Counts()

    async def __aenter__(self) -> Self:
        await self._consumer.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._consumer.__aexit__(kind, exc, trace)

    async def apply(
        self,
        handler: Handler[Delivery, T],
        *,
        on_erased: Handler[Erased, T],
        follow: bool = True,
    ) -> int:
        """Hand every delivery and notice to its handler, with the open transaction; return how many were committed.

        A handler writes with what it is handed, and may be called again for what was undone. What it raises undoes
        the batch and leaves. Without ``follow``, ends at what was committed to the inbox when the reading began.
        """
        ends = None if follow else await self._consumer.ends()
        last_good, retry_s = time.monotonic(), RETRY_S_FIRST
        while True:
            try:
                if await self._place() and ends is not None and await self._consumer.reached(ends):
                    return self.counts.applied
                await self._take(await self._poll(), handler, on_erased)
            except _Overtaken:
                self.counts.overtaken += 1
                self._places.forget()
                _log.info("another reader was first", topic=self._topic)
            except DatabaseLost as fault:
                self._places.forget()
                if time.monotonic() - last_good > self._patience_s:
                    raise
                _log.warning("database not reached", error=fault.what, retry_s=retry_s)
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, RETRY_S_MAX)
            else:
                last_good, retry_s = time.monotonic(), RETRY_S_FIRST

    async def _place(self) -> bool:
        """Seek what is assigned and not yet placed, by the database; return whether all of it is placed."""
        places, client = self._places, self._consumer.client
        generation = places.generation
        missing = [tp for tp in client.assignment() if tp.partition not in places.next]
        if missing and not places.moving:
            starts = await self._starts(missing)
            for partition, offset in starts.items():
                with suppress(IllegalStateError):  # revoked meanwhile: the next assignment seeks it
                    client.seek(partition, offset)
                    places.set(partition.partition, offset, generation)
        return not places.moving and all(tp.partition in places.next for tp in client.assignment())

    async def _starts(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        try:
            first = await self._consumer.client.beginning_offsets(partitions)
            end = await self._consumer.client.end_offsets(partitions)
        except KafkaError as exc:
            raise self._consumer.refused(exc) from None
        found: dict[TopicPartition, int] = {}
        async with self._database.transaction() as transaction:
            stored = await positions.read(self._database, transaction, self._topic)
            for tp in partitions:
                at = stored.get(tp.partition)
                if at is None:
                    await positions.begin(self._database, transaction, self._topic, tp.partition, first[tp])
                    at = first[tp]
                found[tp] = await self._checked(transaction, tp.partition, at, first[tp], end[tp])
        return found

    async def _checked(self, transaction: T, partition: int, at: int, first: int, end: int) -> int:
        """Return where to read on: where the database says, if the inbox still, and already, holds that."""
        where = f"{self._topic}[{partition}]"
        if at > end:
            what = f"the database has read up to {at} of an inbox that ends at {end}"
            raise InboxFault(what, where=where, hint="is this the broker that the database was filled from?")
        if at >= first:
            return at
        if not self._accept_lost:
            what = f"what stood at {at} up to {first} was deleted before it was read here"
            raise DeliveriesLost(what, where=where, hint="go on behind it: --accept-lost")
        _log.warning("deliveries lost", partition=partition, read_up_to=at, first=first)
        await self._advance(transaction, partition, at, first)
        return first

    async def _poll(self) -> Polled:
        try:
            return await self._consumer.poll()
        except OffsetsGone:
            self._places.forget()
            return {}

    async def _take(self, polled: Polled, handler: Handler[Delivery, T], on_erased: Handler[Erased, T]) -> None:
        for tp, records in polled.items():
            if self._places.moving or tp.partition not in self._places.next:
                continue  # read from no known place: it is sought, and comes again
            readable, fault = self._readable(records)
            if readable:
                await self._commit(tp, readable, handler, on_erased)
            if fault is not None:
                raise fault

    async def _commit(
        self,
        tp: TopicPartition,
        batch: Sequence[Delivery | Erased],
        handler: Handler[Delivery, T],
        on_erased: Handler[Erased, T],
    ) -> None:
        generation, at, to = self._places.generation, self._places.next[tp.partition], batch[-1].offset + 1
        async with self._database.transaction() as transaction:
            await self._advance(transaction, tp.partition, at, to)
            for one in batch:
                await (on_erased(one, transaction) if isinstance(one, Erased) else handler(one, transaction))
        self._places.set(tp.partition, to, generation)
        self.counts.applied += len(batch)
        _log.info("batch", partition=tp.partition, applied=len(batch), next_offset=to)
        with suppress(InboxFault):  # a hint for those who watch the lag
            await self._consumer.commit({tp: to})

    async def _advance(self, transaction: T, partition: int, at: int, to: int) -> None:
        if not await positions.advance(self._database, transaction, self._topic, partition, at=at, to=to):
            raise _Overtaken

    def _readable(self, records: Sequence[InboxRecord]) -> tuple[list[Delivery | Erased], InboxFault | None]:
        """What stands before the first record that cannot be read, and what is wrong with that one."""
        found: list[Delivery | Erased] = []
        for record in records:
            try:
                found.append(parse(record, self._catalogue))
            except InboxFault as fault:
                return found, fault
        return found, None
