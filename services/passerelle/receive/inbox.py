"""Read a department's inbox: what the gate committed, each delivery and each notice of erasure once.

*Released* means committed to the inbox as a read_committed reader sees it (DESIGN §7), so this reader always reads so:
there is no setting for it. Offsets are committed after the handler has returned. A reader that dies between the two
meets the same deliveries again, with the same decision ids: a handler that writes elsewhere stores that id with it.
A department with a database uses `passerelle.receive.transactional` instead, which needs no such care.

A notice of erasure stands behind all that was delivered about the pseudonym (GDPR Art. 19). Whoever reads an inbox says
what becomes of one: there is no default, since passing over it in silence would be the wrong one.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Self

from aiokafka import TopicPartition

from passerelle.config import KafkaAccess
from passerelle.receive.consumer import InboxConsumer
from passerelle.receive.delivery import Delivery, Erased, InboxRecord, parse
from passerelle_schemas.catalogue import Catalogue

SEEN_MAX = 100_000
"""Ids of decisions and erasures remembered: some minutes of a large city's traffic, about 10 MB. A replay follows its
original closely, as it comes from an uncommitted batch."""

Handler = Callable[[Delivery], Awaitable[None]]
ErasedHandler = Callable[[Erased], Awaitable[None]]


class InboxReader:
    """Reads one department's inbox in its consumer group. An asynchronous context manager.

    ``group`` is for an observer that must not take the department's place; a department leaves it out.
    Raises `InboxFault`.
    """

    def __init__(self, access: KafkaAccess, department: str, catalogue: Catalogue, *, group: str | None = None) -> None:
        self._consumer = InboxConsumer(access, department, group=group)
        self._catalogue = catalogue
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self.duplicates = 0
        """Deliveries met again and not handed over twice."""

    async def __aenter__(self) -> Self:
        await self._consumer.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._consumer.__aexit__(kind, exc, trace)

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
                await self._consumer.commit(done)
            if limit is not None and handled >= limit:
                return handled
        return handled

    async def _one(self, record: InboxRecord, handler: Handler, on_erased: ErasedHandler) -> bool:
        read = parse(record, self._catalogue)
        ident = read.erasure_id if isinstance(read, Erased) else read.decision_id
        if ident in self._seen:
            self.duplicates += 1
            return False
        await (on_erased(read) if isinstance(read, Erased) else handler(read))
        self._seen[ident] = None
        if len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)
        return True

    async def _batches(self, *, follow: bool) -> AsyncIterator[list[InboxRecord]]:
        ends = None if follow else await self._consumer.ends()
        while ends is None or not await self._consumer.reached(ends):
            polled = await self._consumer.poll()
            batch = [record for records in polled.values() for record in records]
            if batch:
                yield batch
