"""Partitions side by side, batches of one partition one after the other (DESIGN §5a, rule 3)."""

import asyncio
from collections.abc import Awaitable, Callable

IN_FLIGHT = 6
"""Batches that one agent has begun. While some wait for acknowledgements another computes; more only take memory."""


class Lanes:
    """Starts work on batches; at most `IN_FLIGHT` are begun and not done."""

    def __init__(self, width: int = IN_FLIGHT) -> None:
        self._room = asyncio.Semaphore(width)
        self._last: dict[int, asyncio.Task[None]] = {}
        self._failed: BaseException | None = None

    async def start(self, lane: int, work: Callable[[], Awaitable[None]]) -> None:
        """Begin ``work`` when there is room, after the lane's previous work. Raises what earlier work raised."""
        await self._room.acquire()
        if self._failed:
            raise self._failed
        task = asyncio.create_task(self._after(self._last.get(lane), work))
        self._last[lane] = task
        task.add_done_callback(self._done)

    def cancel(self) -> None:
        """Stop what was begun."""
        for task in self._last.values():
            task.cancel()

    async def _after(self, before: asyncio.Task[None] | None, work: Callable[[], Awaitable[None]]) -> None:
        if before and not before.done():
            await asyncio.wait([before])
        if self._failed:
            return  # a batch whose predecessor failed must not overtake it
        try:
            await work()
        except BaseException as exc:
            self._failed = exc  # at once: the next in this lane runs before any callback would
            raise

    def _done(self, task: asyncio.Task[None]) -> None:
        self._room.release()
        if not task.cancelled():
            task.exception()  # seen: `start` raises it
