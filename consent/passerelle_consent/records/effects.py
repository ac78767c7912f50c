"""Who waits for a change to take effect: requests, for as long as their patience lasts."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """Where the standing stands on `consent`, and when it took effect."""

    consent_offset: int | None
    at_ms: int


class Effects:
    """Futures by the id of what they wait for. Bounded by the requests that the server lets in at a time."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, list[asyncio.Future[Effect]]] = {}

    @contextmanager
    def expecting(self, change: bytes) -> Iterator[asyncio.Future[Effect]]:
        """Hold a future for the change; take hold before the change is made, lest it be done first."""
        done: asyncio.Future[Effect] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(change, []).append(done)
        try:
            yield done
        finally:
            waiting = self._waiting.get(change, [])
            if done in waiting:
                waiting.remove(done)
            if not waiting:
                self._waiting.pop(change, None)

    def happened(self, change: bytes, effect: Effect) -> None:
        """Let everyone go on who waits for this."""
        for done in self._waiting.pop(change, ()):
            if not done.done():
                done.set_result(effect)


async def within(patience_s: float, done: asyncio.Future[Effect]) -> Effect | None:
    """Return the effect, or None when patience ran out first."""
    await asyncio.wait([done], timeout=patience_s)
    return done.result() if done.done() else None
