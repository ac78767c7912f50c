"""Input for agents with windows, and an offline recomputation that shares no rule with them: it holds everything."""

import json
import struct
from collections import Counter, defaultdict
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from aiokafka import AIOKafkaProducer

from integration.agents_world import World, checkpoint, topic_of
from passerelle.envelope import Event, event_headers, parse_proposal, rfc3339, source_of
from passerelle.testkit.bus import unmarked

HOUSEHOLDS, INCOMES = "civil-registry.household-changed.v1", "tax.income-assessed.v1"
BIRTHS, REPORTS = "civil-registry.birth-registered.v1", "citizen-desk.report-filed.v1"
NEAR, OF_DAY = "agents.windows.near.log", "agents.windows.births-of-day.log"
LOOPS = "loop"
DEAD = "deadletter.agents.windows"
HOUR_MS = 3_600_000
WINDOW_MS, GRACE_MS, DAY_MS, DAY_GRACE_MS = 2 * HOUR_MS, HOUR_MS, 24 * HOUR_MS, 2 * HOUR_MS
SPREAD_H = 1.0
"""How far events are from where a person's time has come to: some are late for the join, few for the aggregate."""


class Windows(World):
    """A city whose events happened during the last weeks, in no order."""

    group = "agents.windows"
    types = (HOUSEHOLDS, INCOMES, BIRTHS, REPORTS)
    logs = (NEAR, OF_DAY)

    def __init__(self, city, seed, people=24):
        super().__init__(city, seed, people)
        self.start = datetime.now(UTC).replace(hour=4, minute=0, second=0, microsecond=0) - timedelta(days=20)
        self.sides = {NEAR: (topic_of(HOUSEHOLDS), topic_of(INCOMES)), OF_DAY: (topic_of(BIRTHS),)}

    def _event(self, n):
        """Time goes on by some seconds with each event; how far one is from it is drawn, the day before included."""
        type_ = self.rng.choice((HOUSEHOLDS, INCOMES, BIRTHS))
        hours = n / 200 - abs(self.rng.gauss(0, SPREAD_H)) * self.rng.choice((0, 0, 1, 1, 1, 1, 12))
        return self.event(n, type_, self.rng.choice(self.people), hours, **self._drawn(type_))

    def event(self, n, type_, who, hours, **value):
        """(topic, key, value, headers) of one that happened so many hours after the start."""
        contract = self.catalogue.by_type(type_)
        example = contract.decode(contract.encode(contract.example))
        at = rfc3339(self.start + timedelta(hours=hours))
        headers = event_headers(Event(id=str(n), source=source_of(contract.department), type=type_, time=at))
        key = self.keyring.pseudonym(contract.department, who)
        return topic_of(type_), key, contract.encode({**example, **value}), headers

    def _drawn(self, type_):
        return {
            HOUSEHOLDS: {"adults": self.rng.randint(1, 2), "dependants": self.rng.randint(0, 4)},
            INCOMES: {"reference_income_cents": self.rng.randint(0, 90)},
            BIRTHS: {"postcode": f"{self.rng.randint(10_000, 99_999)}"},
        }[type_]

    async def send(self, *events):
        """Publish these; return the place of each: (topic, partition, offset)."""
        producer = AIOKafkaProducer(**self.city.access("admin").aiokafka(), acks="all", enable_idempotence=True)
        await producer.start()
        try:
            sent = [
                await producer.send(topic, value, key=key, headers=headers) for topic, key, value, headers in events
            ]
            return [(m.topic, m.partition, m.offset) for m in [await s for s in sent]]
        finally:
            await producer.stop()

    async def compare(self):
        """All that was proposed and refused against what should have been. Returns counts for the test's message."""
        inputs = await self.read(*map(topic_of, self.types))
        good = {(t, p, r.offset): self.decoded(r)[1:] for (t, p), records in inputs.items() for r in records}
        logs = await self.read(*self.logs)
        near, of_day = Near(self, good), OfDay(self, good)
        for (log, partition), records in sorted(logs.items()):
            for record in records:
                (near if log == NEAR else of_day).take(partition, record)
        assert near.arrived | of_day.arrived == {at for at in good if at[0] != topic_of(REPORTS)}
        exchange = await self.read("exchange")
        got = [self._seen(r) for p in sorted(exchange) for r in unmarked(exchange[p])]
        wanted = near.wanted | of_day.wanted
        assert Counter(got) == Counter(wanted), self._difference(got, wanted)
        told = {(d["rule"], d["reason"], *self._origin(logs, d)) for d in await self.letters()}
        late = {("windows.near", "late", *at) for at in near.late} | {
            ("windows.births-of-day", "late", *at) for at in of_day.late
        }
        assert told == late
        for rule, log in ((near, NEAR), (of_day, OF_DAY)):
            self._compare_state(rule, log, logs)
        return {
            "groups": len(near.wanted),
            "folds": len(of_day.wanted),
            "late": (len(near.late), len(of_day.late)),
            "replays": sum(map(len, exchange.values())) - len(got),
            "repeated": sum(map(len, logs.values())) - len(near.arrived) - len(of_day.arrived),
        }

    async def letters(self):
        return [json.loads(r.value) for r in (await self.read(DEAD))[DEAD, 0]]

    async def refused(self, since=0):
        """(rule, reason, error, outbox, partition, offset) of each dead letter, by what the department published."""
        logs = await self.read(*self.logs)
        return {
            (d["rule"], d["reason"], d.get("error"), *(self._origin(logs, d) if d["topic"] in self.logs else place(d)))
            for d in (await self.letters())[since:]
        }

    async def proposed(self, at):
        """(rule, outbox, partition, offset) → value, of what was proposed of some places, each once."""
        exchange = await self.read("exchange")
        got = [self._seen(r) for p in sorted(exchange) for r in unmarked(exchange[p]) if self._seen(r)[1:4] in at]
        assert len({g[:5] for g in got}) == len(got)
        return {g[:4]: self.catalogue.decode(g[-1])[1] for g in got}

    def _origin(self, logs, letter):
        """The outbox record of what was refused on a log."""
        (record,) = (r for r in logs[letter["topic"], letter["partition"]] if r.offset == letter["offset"])
        side, partition, offset, _ = arrival(record)
        return self.sides[letter["topic"]][side], partition, offset

    def _compare_state(self, rule, log, logs):
        """What each checkpoint holds in the end: nothing that is over, and nothing less than what counts."""
        for partition in {p for name, p in logs if name == log}:
            next_, held = checkpoint(self.city.home.store / "agents/windows" / log / f"{partition}.db")
            assert next_ == logs[log, partition][-1].offset + 1
            assert held == {(who, *e[:3]) for who, at, e in rule.held() if at == partition}

    def lose_checkpoints(self, log):
        for path in (self.city.home.store / "agents/windows" / log).glob("*"):
            with suppress(FileNotFoundError):
                path.unlink()

    def _seen(self, record):
        p = parse_proposal(record.headers)
        o = p.origin
        return (o.rule, o.topic, o.partition, o.offset, o.n, p.flow, record.key, p.event.time, record.value)


def place(letter):
    return letter["topic"], letter["partition"], letter["offset"]


def arrival(record):
    """(side, partition, offset, ms when it happened) of a record of a rule's log."""
    _, side, partition, offset, occurred, outboxed = struct.unpack_from(">BBiqqq", record.value)
    return side, partition, offset, min(occurred, outboxed)


class Recomputed:
    """One rule by hand: every event that was not late is held for ever, by person."""

    def __init__(self, world, good):
        self.world, self.good = world, good
        self.arrived, self.late, self.wanted = set(), set(), set()
        self._of = defaultdict(list)
        self._where = {}

    def take(self, partition, record):
        side, *at, happened = arrival(record)
        origin = (self.world.sides[self.log][side], *at)
        assert self.good[origin][1] == record.key
        self.arrived.add(origin)
        events = self._of[record.key]
        if any(e[0] == side and e[2] >= at[1] for e in events):
            return  # the hop repeated it
        if self.over(happened, max([happened, *(e[3] for e in events)])):
            self.late.add(origin)
            return
        events.append((side, *at, happened))
        self._where[record.key] = partition
        for n, (time, value) in enumerate(self.proposals(events)):
            at_ = rfc3339(datetime.fromtimestamp(time / 1000, UTC))
            self.wanted.add((self.rule, *origin, n, self.flow, record.key, at_, value))

    def value(self, event):
        return self.good[self.world.sides[self.log][event[0]], *event[1:3]][0]

    def encoded(self, type_, **value):
        return self.world.catalogue.by_type(type_).encode(value)

    def held(self):
        """(person, partition of the log, event) of what a checkpoint should hold."""
        for who, events in self._of.items():
            now = max(e[3] for e in events)
            last = {side: max(e[2] for e in events if e[0] == side) for side, *_ in events}
            for e in events:
                if self.counts(e[3], now) or e[2] == last[e[0]]:
                    yield who, self._where[who], e


class Near(Recomputed):
    rule, flow, log = "windows.near", "meal-tariff.schools", NEAR

    def over(self, happened, now):
        return happened < now - WINDOW_MS - GRACE_MS

    def counts(self, happened, now):
        return happened >= now - 2 * WINDOW_MS - GRACE_MS

    def proposals(self, events):
        *before, new = events
        for other in sorted(before, key=lambda e: (e[3], e[2])):
            if other[0] != new[0] and abs(other[3] - new[3]) <= WINDOW_MS:
                home, income = (self.value(e) for e in sorted((other, new)))
                number = home["adults"] + 2 * home["dependants"] + income["reference_income_cents"]
                band = self.encoded("schools.meal-tariff.v1", tariff_band="ABCDEFG"[number % 7])
                yield max(other[3], new[3]), band


class OfDay(Recomputed):
    rule, flow, log = "windows.births-of-day", "birth.schools", OF_DAY

    def over(self, happened, now):
        return not self.counts(happened, now)

    def counts(self, happened, now):
        return (happened // DAY_MS + 1) * DAY_MS + DAY_GRACE_MS > now

    def proposals(self, events):
        day = [e for e in events if e[3] // DAY_MS == events[-1][3] // DAY_MS]
        *_, last = sorted(day, key=lambda e: (e[3], e[2]))
        code = self.value(last)["postcode"]
        yield last[3], self.encoded("schools.birth-forecast.v1", entry_year=len(day), postcode=code)
