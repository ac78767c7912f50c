"""A re-run at work: history is read from the broker, and what `again.Again` proposes of it is sent to the exchange."""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer

from passerelle.agents.again import Again, BadRun, Ranges, topics_of
from passerelle.agents.declared import Declarations
from passerelle.agents.history import SILENCE_S, ends_of, ranges_of, read
from passerelle.agents.logged import Logged
from passerelle.agents.proposing import Out
from passerelle.agents.route import Route
from passerelle.agents.sending import Sender
from passerelle.agents.state import Memory
from passerelle.config import KafkaAccess
from passerelle.pseudonyms import Keyring

RUN_HEX = 16

RECORDS_MAX = 5_000_000
"""Of one run: more is asked for in parts, each with a preview that somebody can read."""

Looked = Callable[[int], None]
"""Hears how many records more were looked at."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What is to be run again. The same words are the same run, which decides each event once."""

    since_ms: int
    until_ms: int
    rules: tuple[str, ...] = ()
    outboxes: tuple[str, ...] = ()
    again: str = ""
    """A word that parts this run from one of the same range before."""

    def statement(self, app: str) -> str:
        """What is asked of that app, in one line."""
        return json.dumps([app, self.since_ms, self.until_ms, sorted(self.rules), sorted(self.outboxes), self.again])

    def digest(self, app: str) -> bytes:
        """SHA-256 of the statement: what the ledger says of the run."""
        return hashlib.sha256(self.statement(app).encode()).digest()

    def run(self, app: str) -> str:
        """Return the run's id."""
        return self.digest(app).hex()[:RUN_HEX]


class Rerun:
    """One run of one app's rules over a stretch of history. Everything raises `KafkaError`, `TimeoutError`."""

    def __init__(
        self, app: Declarations, rules: Sequence[Route | Logged], asked: Asked, access: KafkaAccess, partitions: int
    ) -> None:
        """``access`` is the app's own."""
        self._app = app
        self._rules = rules
        self._asked = asked
        self._access = access
        self._partitions = partitions

    async def ranges(self) -> Ranges:
        """Where the stretch lies in the outboxes. Raises `BadRun`."""
        asked = self._asked
        topics = topics_of(self._rules, asked.outboxes)
        found = await ranges_of(self._access, topics, self._partitions, asked.since_ms, asked.until_ms)
        if (count := sum(map(len, found.values()))) > RECORDS_MAX:
            raise BadRun(f"{count:,} records are more than one run takes ({RECORDS_MAX:,})", hint="run it in parts")
        return found

    async def run(self, ranges: Ranges, keyring: Keyring, looked: Looked = lambda _: None) -> Again:
        """Propose all of it once more, in order; return what it came to."""
        again = Again(run=self._asked.run(self._app.id), ranges=ranges)
        producer = AIOKafkaProducer(**self._access.aiokafka(), acks="all", enable_idempotence=True)
        await producer.start()
        try:
            sender = Sender(producer, lambda: int(time.time() * 1000))
            for (topic, partition), stretch in ranges.items():
                routes, reader = self._routes(topic), self._app.reader(topic, keyring)
                async for records, _ in read(self._access, topic, partition, stretch.start, stretch.stop):
                    outcomes = reader.read(records) if routes else []
                    for route in routes:
                        await _sent(sender, again.routed(self._app.id, route, outcomes))
                    looked(len(records))
            for join in self._rules:
                if isinstance(join, Logged):
                    await self._join(again, sender, join)
        finally:
            await producer.stop()
        return again

    def _routes(self, topic: str) -> list[Route]:
        return [r for r in self._rules if isinstance(r, Route) and r.outboxes[0].topic == topic]

    async def _join(self, again: Again, sender: Sender, join: Logged) -> None:
        """Folded from its beginning to where it ends now."""
        for partition, end in enumerate(await ends_of(self._access, join.log, self._partitions)):
            state = Memory()
            async for records, _ in read(self._access, join.log, partition, 0, end):
                if records:
                    await _sent(sender, again.joined(self._app.id, join, state, records))


async def _sent(sender: Sender, outs: Sequence[Out]) -> None:
    """An idempotent send never gives up by itself. Raises `KafkaError`, `TimeoutError`."""
    async with asyncio.timeout(SILENCE_S):
        await sender.send(outs)
