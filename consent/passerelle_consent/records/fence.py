"""The withdrawal fence, as the consent service sees it (DESIGN §7): which changes the gate has applied for certain.

Task i of the gate writes to ``fence[i]`` "all of ``consent[i]`` below c is applied" within a transaction. A
read_committed reader that sees c > w knows that no delivery made under the standing before w is committed, or
becomes visible, any more; decision record `0001-acknowledged-by-push.md` has the argument. A reader that sees
nothing, or an error, knows nothing: the change is not acknowledged (rule 10).
"""

import asyncio
import heapq
from collections.abc import Iterable

import structlog

from passerelle_consent.records.ports import FenceConsumer
from passerelle_consent.wire import decode_fence
from passerelle_schemas.faults import Fault

POLL_MS = 500
"""The broker answers at once when there is a mark; this is how long one empty request may rest there."""

RETRY_S_FIRST, RETRY_S_MAX = 0.1, 5.0
"""Back-off after an error of the consumer. Meanwhile nothing is acknowledged."""

PASSED_PER_BATCH = 500
"""Bounds one acknowledging transaction to some 100 ms."""

_log = structlog.get_logger("fence")


class Fence:
    """How far each partition is applied, and which changes wait for it. Used from the event loop alone."""

    def __init__(self, partitions: int) -> None:
        self._applied = [0] * partitions
        # As many as are recorded and not in effect: the store holds each of them as well.
        self._waiting: list[list[tuple[int, bytes]]] = [[] for _ in range(partitions)]
        self._passed: list[bytes] = []
        self._some_passed = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many changes are on the broker and not yet applied by the gate."""
        return sum(map(len, self._waiting))

    def expect(self, partition: int, offset: int, change: bytes) -> None:
        """Wait until the gate has applied ``consent[partition]`` beyond ``offset``."""
        heapq.heappush(self._waiting[partition], (offset, change))
        self._release(partition)

    def advance(self, partition: int, applied: int) -> None:
        """Take in a mark. Marks never move back: what was applied stays applied."""
        if applied > self._applied[partition]:
            self._applied[partition] = applied
            self._release(partition)

    async def passed(self) -> list[bytes]:
        """Wait for changes that the fence has passed; return a batch of them, each once."""
        await self._some_passed.wait()
        batch, self._passed = self._passed[:PASSED_PER_BATCH], self._passed[PASSED_PER_BATCH:]
        if not self._passed:
            self._some_passed.clear()
        return batch

    def put_back(self, changes: Iterable[bytes]) -> None:
        """Offer changes again whose acknowledgement could not be stored."""
        self._passed[:0] = changes  # before what has passed since: an erasure must not overtake what it follows
        self._some_passed.set()

    def _release(self, partition: int) -> None:
        waiting = self._waiting[partition]
        applied = self._applied[partition]
        while waiting and waiting[0][0] < applied:
            self._passed.append(heapq.heappop(waiting)[1])
            self._some_passed.set()


async def follow(consumer: FenceConsumer, fence: Fence) -> None:
    """Read marks for ever. An error of the consumer, or a record that is no mark, moves nothing."""
    retry_s = RETRY_S_FIRST
    try:
        while True:
            try:
                fetched = await consumer.getmany(timeout_ms=POLL_MS)
            except Exception as exc:  # noqa: BLE001 - no answer is not an answer
                _log.warning("fence not read", error=type(exc).__name__)
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, RETRY_S_MAX)
                continue
            retry_s = RETRY_S_FIRST
            for records in fetched.values():
                for record in records:
                    _take(fence, record.partition, record.value)
    finally:
        await consumer.stop()


def _take(fence: Fence, partition: int, value: bytes | None) -> None:
    if value is None:
        return
    try:
        fence.advance(partition, decode_fence(value).applied)
    except Fault as exc:
        _log.warning("not a fence mark", partition=partition, error=type(exc).__name__)
