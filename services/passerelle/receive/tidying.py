"""What is done to an inbox's tables beside filling them: retentions end, and finished erasures are told to the bus."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Generic

import structlog

from passerelle.receive.acknowledge import NotAcknowledged
from passerelle.receive.into import AT_ONCE_MAX, InboxTables
from passerelle.receive.positions import DatabaseLost, T

EVERY_S = 5.0
"""One indexed query each."""

_log = structlog.get_logger("inbox")


class Tidying(Generic[T]):
    """``acknowledge`` tells the consent service of one erasure, and raises `NotAcknowledged`."""

    def __init__(
        self,
        tables: InboxTables[T],
        acknowledge: Callable[[bytes], Awaitable[None]],
        now: Callable[[], datetime],
    ) -> None:
        self._tables = tables
        self._acknowledge = acknowledge
        self._now = now

    async def once(self) -> None:
        """Do all that is due. Raises `DatabaseFault`, `DatabaseLost`."""
        ended = AT_ONCE_MAX
        while ended == AT_ONCE_MAX:
            ended = await self._tables.end(self._now())
            if ended:
                _log.info("retention ended", rows=ended)
        for erasure in await self._tables.done():
            try:
                await self._acknowledge(erasure)
            except NotAcknowledged as fault:
                _log.warning("erasure not acknowledged", erasure=erasure.hex(), error=fault.what)
                return  # the others would be told the same; it is tried again
            await self._tables.acknowledged(erasure, self._now())

    async def for_ever(self) -> None:
        """Do it again and again; a database that is away is waited for. Raises `DatabaseFault`."""
        while True:
            try:
                await self.once()
            except DatabaseLost as fault:
                _log.warning("not tidied", error=fault.what)
            await asyncio.sleep(EVERY_S)
