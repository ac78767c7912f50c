"""Sending so that the gate's source marks lose nothing (DECISIONS.md, 1).

To each output partition batches go one after the other, each acknowledged before the next is sent, and the first
failure stops that partition; different partitions go side by side. The caller then repeats the *whole* input.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Protocol

from passerelle.agents.proposing import Out
from passerelle_schemas.topics import partition_of

Partition = tuple[str, int]


class Batch(Protocol):
    """What is used of aiokafka's BatchBuilder."""

    def append(
        self, *, timestamp: int, key: bytes | None, value: bytes, headers: Sequence[tuple[str, bytes]]
    ) -> object:
        """None when the batch is full."""

    def close(self) -> None:
        """Nobody else may append."""

    def record_count(self) -> int:
        """How many records it holds."""


class Producer(Protocol):
    """What is used of aiokafka's AIOKafkaProducer (idempotent, acks=all)."""

    def create_batch(self) -> Batch:
        """An empty batch."""

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> Awaitable[object]:
        """Queue a batch; the awaitable answers when the broker acknowledged it, or raises why not."""

    async def partitions_for(self, topic: str) -> set[int]:
        """The partitions of a topic."""


class RecordTooLarge(Exception):
    """A record does not fit an empty batch. `proposing.PROPOSAL_BYTES_MAX` prevents it."""


class Sender:
    """Sends the outputs of one input batch, and returns when every one is acknowledged."""

    def __init__(self, producer: Producer, now_ms: Callable[[], int]) -> None:
        self._producer = producer
        self._now_ms = now_ms
        self._counts: dict[str, int] = {}  # partition counts never change: `check` compared them before the start

    async def send(self, outs: Iterable[Out]) -> None:
        """Raises the first failure, after every partition settled: nothing is in flight when the caller repeats."""
        lanes: dict[Partition, list[Out]] = {}
        for out in outs:
            lanes.setdefault((out.topic, await self._partition(out)), []).append(out)
        done = await asyncio.gather(*(self._lane(at, part) for at, part in lanes.items()), return_exceptions=True)
        for result in done:
            if isinstance(result, BaseException):
                raise result

    async def _partition(self, out: Out) -> int:
        if out.key is None:
            return 0
        if out.topic not in self._counts:
            self._counts[out.topic] = len(await self._producer.partitions_for(out.topic))
        return partition_of(out.key, self._counts[out.topic])

    async def _lane(self, at: Partition, outs: Sequence[Out]) -> None:
        topic, partition = at
        for batch in self._batches(outs):
            await (await self._producer.send_batch(batch, topic, partition=partition))

    def _batches(self, outs: Sequence[Out]) -> Iterator[Batch]:
        batch, now = self._producer.create_batch(), self._now_ms()
        for out in outs:
            if batch.append(timestamp=now, key=out.key, value=out.value, headers=out.headers) is not None:
                continue
            if not batch.record_count():
                raise RecordTooLarge
            yield _closed(batch)
            batch = self._producer.create_batch()
            if batch.append(timestamp=now, key=out.key, value=out.value, headers=out.headers) is None:
                raise RecordTooLarge
        if batch.record_count():
            yield _closed(batch)


def _closed(batch: Batch) -> Batch:
    batch.close()
    return batch
