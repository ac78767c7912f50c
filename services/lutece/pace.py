"""Publish at a pace, so that what is measured is the way of an event and not a queue."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from itertools import islice

from passerelle.publish.csv_import import Publishes
from passerelle.publish.outgoing import Outgoing, Prepared
from passerelle.publish.producer import Placed

BATCH = 25
"""Events between two looks at the clock."""


class Pace:
    """At most ``per_second`` events a second, over all that share it."""

    def __init__(self, per_second: float) -> None:
        self._seconds_each = 1 / per_second
        self._next = 0.0

    async def wait(self, events: int) -> None:
        """Return when ``events`` more may go."""
        now = asyncio.get_running_loop().time()
        start = max(now, self._next)
        self._next = start + events * self._seconds_each
        await asyncio.sleep(start - now)


class Paced:
    """A producer that keeps the pace."""

    def __init__(self, producer: Publishes, pace: Pace) -> None:
        self._producer = producer
        self._pace = pace

    def prepare(self, outgoing: Outgoing, *, tag: int = 0) -> Prepared:
        """As the producer does."""
        return self._producer.prepare(outgoing, tag=tag)

    async def publish_all(self, events: Iterable[Prepared]) -> AsyncIterator[Placed]:
        """As the producer does, a few at a time."""
        left = iter(events)
        while batch := list(islice(left, BATCH)):
            await self._pace.wait(len(batch))
            async for placed in self._producer.publish_all(batch):
                yield placed
