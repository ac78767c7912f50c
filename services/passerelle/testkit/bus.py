"""A deterministic bus in memory for tests of agents: no broker, no event loop, no clock.

A test of a city's rules::

    bus = Bus(city)                      # or Bus(city, seed=7): some interleaving, failures of sending and all
    bus.publish(moves, "anna", at="2026-01-03T10:00:00Z", street="…", …)
    assert bus.proposals("move.schools") == [Proposed(…)]

Codec, rules, partitioner, folding and dead letters are those of a worker. `proposals` shows what the gate decides on:
after its source marks (DESIGN §6).
"""

import random
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from passerelle.agents.again import Again, Ranges, Tally, chosen, topics_of
from passerelle.agents.declared import Declarations
from passerelle.agents.folding import Folder
from passerelle.agents.lineage import Outbox
from passerelle.agents.logged import Logged
from passerelle.agents.proposing import Out
from passerelle.agents.reading import Batch, Record
from passerelle.agents.route import Route
from passerelle.agents.rules import Rule, applied
from passerelle.agents.state import Memory, memory
from passerelle.envelope import Event, Headers, event_headers, parse_proposal, rfc3339, source_of
from passerelle.pseudonyms import DEPARTMENT_KEY_BYTES, REF_BYTES, Keyring
from passerelle_consent.wire import DeadLetter, Mark, Origin, mark_key
from passerelle_schemas.topics import EXCHANGE, dead_letter, partition_of

PARTITIONS = 4
BATCH_RECORDS_MAX = 5
"""Small, so that a few events already cross the borders of batches."""
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A record of the bus in memory."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposed:
    """A proposal as the gate decides on it."""

    flow: str
    who: str
    value: Mapping[str, Any]
    time: str
    origin: Origin


class Bus:
    """One app of agents and the topics around it.

    Without ``seed`` each event is worked on when it is published. With one, partitions and rules take turns at random,
    and sends to some partitions fail half-way, so that whole batches are repeated; the same seed gives the same run.
    """

    def __init__(self, app: Declarations, *, seed: int | None = None, partitions: int = PARTITIONS) -> None:
        self.app = app
        self.keyring = Keyring({c.department: self.key_of(c.department) for c in app.catalogue})
        self.topics: dict[tuple[str, int], list[Stored]] = {}
        self._random = None if seed is None else random.Random(seed)  # noqa: S311 - interleavings, not secrets
        self._partitions = partitions
        self._clock_ms = int(NOON.timestamp() * 1000)
        self._names: dict[bytes, str] = {}
        self._next: dict[tuple[str, str, int], int] = {}
        self._folders: dict[str, Folder] = {}

    @staticmethod
    def key_of(department: str) -> bytes:
        """The department's key, made of its name: pseudonyms are the same in every run."""
        return sha256(department.encode()).digest()[:DEPARTMENT_KEY_BYTES]

    @property
    def now_ms(self) -> int:
        """The bus's own clock, epoch milliseconds: it stands still unless something happens."""
        return self._clock_ms

    def move_clock(self, at: str) -> None:
        """Let time pass until ``at`` (RFC 3339); never back."""
        self._clock_ms = max(self._clock_ms, _ms(at))

    # -- the departments ------------------------------------------------------------------------------------------

    def publish(self, outbox: Outbox, who: str, *, at: str | None = None, **value: Any) -> Record:
        """What ``outbox``'s department publishes about a person; ``at``, RFC 3339, is when it happened."""
        contract = outbox.contract
        ref = self.ref(who)
        # What is published happened before: the bus's own clock follows the test's.
        self._clock_ms += 1
        if at:
            self.move_clock(at)
        event = Event(
            id=f"{contract.type}/{self._clock_ms}",
            source=source_of(contract.department),
            type=contract.type,
            time=at or rfc3339(datetime.fromtimestamp(self._clock_ms / 1000, UTC)),
        )
        key = self.keyring.pseudonym(contract.department, ref)
        published = self.append(outbox.topic, key, contract.encode(value), event_headers(event))
        if self._random is None:
            self.run()
        return published

    def ref(self, who: str) -> bytes:
        """The subject ref of a person."""
        ref = sha256(who.encode()).digest()[:REF_BYTES]
        self._names[ref] = who
        return ref

    def name(self, ref: bytes | None) -> str:
        """Whose ref this is; ``?`` for nobody's that was spoken of."""
        return self._names.get(ref or b"", "?")

    def append(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers | None = None) -> Record:
        """Any record at all."""
        partition = 0 if key is None else partition_of(key, self._partitions)
        log = self.topics.setdefault((topic, partition), [])
        stored = Stored(
            topic=topic,
            partition=partition,
            offset=len(log),
            timestamp=self._clock_ms,
            key=key,
            value=value,
            headers=headers or [],
        )
        log.append(stored)
        return stored

    # -- the worker -----------------------------------------------------------------------------------------------

    def run(self) -> "Bus":
        """Work until nothing is left to do."""
        while todo := [(r, tp) for r in self.app.rules.values() for tp in self._inputs(r) if self._left(r, tp)]:
            rule, at = self._random.choice(todo) if self._random else todo[0]
            self._work(rule, at)
        return self

    def restart(self) -> "Bus":
        """The worker dies: its memory is gone, and what it had not committed is delivered again."""
        self._folders.clear()
        for at, done in self._next.items():
            self._next[at] = max(0, done - (self._random.randrange(2 * BATCH_RECORDS_MAX) if self._random else 1))
        return self

    def rerun(
        self, run: str, *, since: str | None = None, until: str | None = None, rules: Sequence[str] = ()
    ) -> Tally:
        """Run again what was published in a time (RFC 3339; `agents.again`). The same run again changes nothing."""
        since_ms, until_ms = _ms(since) if since else 0, _ms(until) if until else self._clock_ms + 1
        wanted = chosen(self.run().app, rules)
        again = Again(run=run, ranges=self._history(topics_of(wanted), since_ms, until_ms))
        for rule in wanted:
            for at in self._inputs(rule):
                self._send_all(self._again(again, rule, at))
        return again.tally

    # -- what came of it ------------------------------------------------------------------------------------------

    def proposals(self, flow: str | None = None) -> list[Proposed]:
        """What the gate would decide on, in the order of (partition, arrival)."""
        self.run()
        found = []
        for partition in range(self._partitions):
            for record in unmarked(self.topics.get((EXCHANGE, partition), [])):
                proposal = parse_proposal(record.headers)
                if flow in (None, proposal.flow):
                    _, value = self.app.catalogue.decode(record.value)
                    who = self.name(record.key)
                    found.append(
                        Proposed(
                            flow=proposal.flow, who=who, value=value, time=proposal.event.time, origin=proposal.origin
                        )
                    )
        return found

    def dead_letters(self) -> list[DeadLetter]:
        """What was not taken, each once."""
        self.run()
        letters = (DeadLetter.decode(r.value or b"") for r in self.topics.get((dead_letter(self.app.id), 0), []))
        return list(dict.fromkeys(letters))

    def _history(self, topics: Sequence[str], since_ms: int, until_ms: int) -> Ranges:
        ranges = {}
        for (topic, partition), records in self.topics.items():
            found = [r.offset for r in records if since_ms <= r.timestamp < until_ms]
            if topic in topics and found:
                ranges[topic, partition] = range(found[0], found[-1] + 1)
        return ranges

    def _again(self, again: Again, rule: Rule, at: tuple[str, int]) -> list[Out]:
        if isinstance(rule, Logged):
            return again.joined(self.app.id, rule, Memory(), self.topics[at])
        wanted = again.ranges.get(at, range(0))
        read = self.app.reader(at[0], self.keyring).read(self.topics[at][wanted.start : wanted.stop])
        return again.routed(self.app.id, rule, read) if isinstance(rule, Route) else []

    def _send_all(self, outs: Sequence[Out]) -> None:
        """Repeated as a whole until all of it is there."""
        while True:
            try:
                return self._send(outs)
            except _Failed:
                continue

    # -- inside ---------------------------------------------------------------------------------------------------

    def _inputs(self, rule: Rule) -> list[tuple[str, int]]:
        topic = rule.log if isinstance(rule, Logged) else rule.outboxes[0].topic
        return [at for at in self.topics if at[0] == topic]

    def _left(self, rule: Rule, at: tuple[str, int]) -> bool:
        return self._next.get((rule.name, *at), 0) < len(self.topics[at])

    def _work(self, rule: Rule, at: tuple[str, int]) -> None:
        """One batch: repeated as a whole until every output is sent, and only then done."""
        first = self._next.get((rule.name, *at), 0)
        size = self._random.randint(1, BATCH_RECORDS_MAX) if self._random else BATCH_RECORDS_MAX
        batch = Batch(*at, self.topics[at][first : first + size])
        while not self._tried(rule, batch):
            pass
        self._next[rule.name, *at] = first + len(batch.records)

    def _tried(self, rule: Rule, batch: Batch) -> bool:
        try:
            if isinstance(rule, Logged):
                _drive(self._folder(rule).process(batch, _Patient()))
            else:
                read = self.app.reader(batch.topic, self.keyring).read(batch.records)
                reports = self.app.by_topic()[batch.topic][0] is rule
                self._send(applied(self.app.id, rule, read, reports=reports))
        except _Failed:
            return False
        return True

    def _folder(self, join: Logged) -> Folder:
        if join.name not in self._folders:
            self._folders[join.name] = Folder(self.app.id, join, memory, self._read_log, self._send_later)
        return self._folders[join.name]

    async def _send_later(self, outs: Sequence[Out]) -> None:
        self._send(outs)

    def _send(self, outs: Sequence[Out]) -> None:
        """As `sending.Sender`: in order to each partition, a partition stops at its first failure."""
        lanes: dict[tuple[str, int], list[Out]] = {}
        for out in outs:
            partition = 0 if out.key is None else partition_of(out.key, self._partitions)
            lanes.setdefault((out.topic, partition), []).append(out)
        failed = False
        for lane in lanes.values():
            sent = self._random.randrange(len(lane) + 1) if self._random and self._random.random() < 0.2 else len(lane)  # noqa: PLR2004
            self._clock_ms += 1
            for out in lane[:sent]:
                self.append(out.topic, out.key, out.value, out.headers)
            failed = failed or sent < len(lane)
        if failed:
            raise _Failed

    async def _read_log(
        self, topic: str, partition: int, first: int, end: int
    ) -> AsyncIterator[tuple[Sequence[Record], int]]:
        yield self.topics[topic, partition][first:end], end


def unmarked(records: Sequence[Record]) -> list[Record]:
    """What the gate's source marks let through: at or below the mark of (rule, outbox partition) is a replay."""
    marks: dict[bytes, Mark] = {}
    fresh = []
    for record in records:
        origin = parse_proposal(record.headers).origin
        mark = Mark(offset=origin.offset, n=origin.n)
        if mark_key(origin) not in marks or mark > marks[mark_key(origin)]:
            marks[mark_key(origin)] = mark
            fresh.append(record)
    return fresh


def _ms(at: str) -> int:
    return int(datetime.fromisoformat(at).timestamp() * 1000)


class _Failed(Exception):
    """The broker did not take everything."""


class _Patient:
    def progress(self) -> None:
        """There is no time here."""


def _drive(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that waits for nothing but its turn."""
    try:
        while True:
            work.send(None)
    except StopIteration:
        return
