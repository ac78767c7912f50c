"""What stands in a partition: where a time begins in it, and its records from one offset to another."""

import time
from collections.abc import AsyncIterator, Iterable, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaTimeoutError

from passerelle.agents.again import Ranges
from passerelle.agents.reading import Record
from passerelle.config import KafkaAccess

PAGE_RECORDS = 4_000
FETCH_BYTES = 4 << 20
"""Of one fetch."""

WAIT_MS = 1_000
SILENCE_S = 90.0
"""Without a step forward for this long, the broker is away."""


async def read(
    access: KafkaAccess, topic: str, partition: int, first: int, end: int
) -> AsyncIterator[tuple[Sequence[Record], int]]:
    """Yield what is committed of ``first`` … ``end`` - 1, in pages, each with the offset that follows it.

    What retention took is left out. Raises `KafkaError`.
    """
    consumer = _consumer(access)
    await consumer.start()
    try:
        at = TopicPartition(topic, partition)
        consumer.assign([at])
        position = max(first, (await consumer.beginning_offsets([at]))[at])
        consumer.seek(at, position)
        moved = time.monotonic()
        while position < end:
            page = await consumer.getmany(at, timeout_ms=WAIT_MS, max_records=PAGE_RECORDS)
            before, position = position, await consumer.position(at)
            if position > before:
                moved = time.monotonic()
            elif time.monotonic() - moved > SILENCE_S:
                raise KafkaTimeoutError
            if page:
                yield [r for r in page[at] if r.offset < end], min(position, end)
    finally:
        await consumer.stop()


async def ranges_of(access: KafkaAccess, topics: Iterable[str], count: int, since_ms: int, until_ms: int) -> Ranges:
    """Offsets of what was appended from ``since_ms`` to before ``until_ms`` (ms since 1970). Raises `KafkaError`."""
    consumer = _consumer(access)
    await consumer.start()
    try:
        at = [TopicPartition(topic, partition) for topic in topics for partition in range(count)]
        first = await consumer.offsets_for_times(dict.fromkeys(at, since_ms))
        last = await consumer.offsets_for_times(dict.fromkeys(at, until_ms))
        ends = await consumer.end_offsets(at)
    finally:
        await consumer.stop()
    return {(tp.topic, tp.partition): range(_offset(first[tp], ends[tp]), _offset(last[tp], ends[tp])) for tp in at}


async def ends_of(access: KafkaAccess, topic: str, count: int) -> list[int]:
    """Where each of its partitions ends now. Raises `KafkaError`."""
    consumer = _consumer(access)
    await consumer.start()
    try:
        ends = await consumer.end_offsets([TopicPartition(topic, partition) for partition in range(count)])
    finally:
        await consumer.stop()
    return [ends[TopicPartition(topic, partition)] for partition in range(count)]


def _offset(found: object, end: int) -> int:
    """None: nothing is that late."""
    return end if found is None else int(found.offset)  # type: ignore[attr-defined] # aiokafka's OffsetAndTimestamp


def _consumer(access: KafkaAccess) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=FETCH_BYTES,
        **access.aiokafka(),
    )
