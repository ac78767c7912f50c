"""Input for the agents of Lutèce, workers to disturb, and an offline recomputation that shares no rule with them."""

import asyncio
import io
import json
import os
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from collections import Counter, defaultdict
from contextlib import closing, suppress
from dataclasses import dataclass, field

import fastavro
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from passerelle.envelope import Event, event_headers, parse_proposal, source_of
from passerelle.testkit.bus import unmarked
from passerelle_schemas.catalogue import Catalogue

REPORTS = "citizen-desk.report-filed.v1"
MOVES = "civil-registry.address-changed.v1"
HOUSEHOLDS = "civil-registry.household-changed.v1"
INCOMES = "tax.income-assessed.v1"
GROUP = "agents.lutece"
JOIN_LOG = "agents.lutece.meal-tariff.log"
DEAD = "deadletter.agents.lutece"
OPERATORS = {"Ramen": "cleanliness", "DVD-X": "roads", "DPMP-Y": "police", "DEVE": "parks", "LIME": None}
POISON = 0.02
DRAIN_S = 120
TAKEN_OVER_S = 60


def topic_of(type_):
    return f"outbox.{type_.rpartition('.')[0]}"


class World:
    """A city with input for its agents."""

    group = GROUP
    types = (REPORTS, MOVES, HOUSEHOLDS, INCOMES)
    logs = (JOIN_LOG,)

    def __init__(self, city, seed=1, people=200):
        self.city = city
        self.rng = random.Random(seed)
        self.people = [self.rng.randbytes(16) for _ in range(people)]
        self.catalogue = Catalogue.load(city.manifest.contracts)
        self.keyring = city.manifest.keyring(city.home)
        self.schemas = {c.schema_id: (c.type, c.parsed) for c in self.catalogue}

    # -- what the departments publish -------------------------------------------------------------------------------

    async def publish(self, count, rate, over=None):
        """``count`` events of four kinds, one in fifty spoilt, at ``rate`` per second; fewer when it is ``over``."""
        producer = AIOKafkaProducer(**self.city.access("admin").aiokafka(), acks="all", enable_idempotence=True)
        await producer.start()
        began, sent = time.monotonic(), []
        try:
            for n in range(count):
                if over is not None and over.is_set():
                    break
                topic, key, value, headers = self._event(n)
                sent.append(await producer.send(topic, value, key=key, headers=headers))
                ahead = n / rate - (time.monotonic() - began)
                if ahead > 0.05:
                    await asyncio.sleep(ahead)
            await asyncio.gather(*sent)
        finally:
            await producer.stop()

    def _event(self, n):
        type_ = self.rng.choice((REPORTS, MOVES, HOUSEHOLDS, INCOMES))
        contract = self.catalogue.by_type(type_)
        value = contract.encode({**contract.decode(contract.encode(contract.example)), **self._drawn(type_)})
        key = self.keyring.pseudonym(contract.department, self.rng.choice(self.people))
        event = Event(
            id=str(n), source=source_of(contract.department), type=type_, time=f"2026-01-01T00:00:{n % 60:02}.000Z"
        )
        headers = event_headers(event)
        if self.rng.random() < POISON:
            key, value, headers = self.rng.choice(
                (
                    (key, b"garbage", headers),
                    (key, value[:-1], headers),
                    (key, None, headers),
                    (key, b"\0\0\0\1\0" + value[5:], headers),
                    (key[:7], value, headers),
                    (key, value, headers[:-1]),
                )
            )
        return topic_of(type_), key, value, headers

    def _drawn(self, type_):
        return {
            REPORTS: {"operator": self.rng.choice(list(OPERATORS))},
            MOVES: {"household_size": self.rng.randint(1, 6)},
            HOUSEHOLDS: {"adults": self.rng.randint(1, 2), "dependants": self.rng.randint(0, 4)},
            INCOMES: {"reference_income_cents": self.rng.randint(0, 90_000_00)},
        }[type_]

    # -- what is on the broker --------------------------------------------------------------------------------------

    async def read(self, *topics):
        """All records of topics, by (topic, partition)."""
        consumer = AIOKafkaConsumer(
            **self.city.access("admin").aiokafka(),
            group_id=None,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            at = [TopicPartition(t, p) for t in topics for p in await self._partitions(consumer, t)]
            consumer.assign(at)
            ends, found = await consumer.end_offsets(at), defaultdict(list)
            await consumer.seek_to_beginning(*at)
            while any([await consumer.position(tp) < ends[tp] for tp in at]):
                for tp, records in (await consumer.getmany(timeout_ms=500)).items():
                    found[tp.topic, tp.partition] += records
            return found
        finally:
            await consumer.stop()

    async def _partitions(self, consumer, topic):
        await consumer._client._wait_on_metadata(topic)
        return sorted(consumer.partitions_for_topic(topic))

    async def drained(self):
        """Wait until the agents committed everything, the join's log included."""
        admin = AIOKafkaAdminClient(**self.city.access("admin").aiokafka())
        await admin.start()
        consumer = AIOKafkaConsumer(**self.city.access("admin").aiokafka(), group_id=None)
        await consumer.start()
        topics = [*map(topic_of, self.types), *self.logs]
        at = [TopicPartition(t, p) for t in topics for p in await self._partitions(consumer, t)]
        try:
            end = time.monotonic() + DRAIN_S
            while time.monotonic() < end:
                ends = await consumer.end_offsets(at)
                committed = await admin.list_consumer_group_offsets(self.group)
                lag = sum(n - (committed[tp].offset if tp in committed else 0) for tp, n in ends.items())
                if lag == 0 and ends == await consumer.end_offsets(at):
                    return
                await asyncio.sleep(0.3)
            raise AssertionError(f"agents are {lag} records behind after {DRAIN_S} s")
        finally:
            await consumer.stop()
            await admin.close()

    # -- what should be there ---------------------------------------------------------------------------------------

    def decoded(self, record):
        """(type, value, subject) of a good record of an outbox, else None."""
        type_ = next(t for t in self.types if topic_of(t) == record.topic)
        if record.value is None or record.value[:1] != b"\0" or len(record.key) != 16 or len(record.headers) != 6:
            return None
        known = self.schemas.get(struct.unpack(">I", record.value[1:5])[0])
        body = io.BytesIO(record.value[5:])
        try:
            value = fastavro.schemaless_reader(body, known[1], None)
        except Exception:  # noqa: BLE001 - fastavro raises whatever the bytes provoke
            return None
        if body.read() or known[0] != type_:
            return None
        return type_, value, self.keyring.subject(type_.partition(".")[0], record.key)

    async def compare(self):
        """Everything the agents did, against what they should have done. Returns counts for the test's message."""
        inputs = await self.read(*map(topic_of, self.types))
        wanted, dead = self._routed(inputs)
        wanted |= self._joined(await self.read(JOIN_LOG), inputs)
        exchange = await self.read("exchange")
        got = [self._seen(r) for p in sorted(exchange) for r in unmarked(exchange[p])]
        assert Counter(got) == Counter(wanted), self._difference(got, wanted)
        letters = await self.read(DEAD)
        told = {(d["topic"], d["partition"], d["offset"]) for r in letters[DEAD, 0] for d in [json.loads(r.value)]}
        assert told == dead
        total = sum(map(len, exchange.values()))
        return {"proposals": len(wanted), "replays": total - len(got), "dead": len(dead)}

    def _routed(self, inputs):
        wanted, dead = set(), set()
        for (topic, partition), records in inputs.items():
            for record in records:
                good = self.decoded(record)
                at = (topic, partition, record.offset)
                if good is None:
                    dead.add(at)
                    continue
                type_, value, subject = good
                if type_ == REPORTS:
                    department = OPERATORS[value["operator"]]
                    if department is None:
                        dead.add(at)
                    else:
                        flow = f"street-report.{department}"
                        wanted.add(("lutece.street-report", *at, flow, subject, record.value))
                if type_ == MOVES:
                    wanted |= {(f"lutece.{n.replace('.', '-')}", *at, n, subject, self._moved(n, value)) for n in MOVED}
        return wanted, dead

    def _moved(self, flow, value):
        event, fields = MOVED[flow]
        return self.catalogue.by_type(event).encode({name: value[source] for name, source in fields.items()})

    def _joined(self, log, inputs):
        """The join by hand: the newest of each side for each person, in the order of the log."""
        values = {
            (t, p, r.offset): good for (t, p), records in inputs.items() for r in records if (good := self.decoded(r))
        }
        newest, wanted, arrived = {}, set(), set()
        for at in sorted(log):
            for record in log[at]:
                side, rank, origin = arrival(record)
                arrived.add(origin)
                assert values[origin][2] == record.key
                if not newer(newest, record.key, side, rank, origin[1:]):
                    continue
                both = [newest.get((record.key, s)) for s in (0, 1)]
                if all(both):
                    band = self._band(*(values[SIDES[s], *where][1] for s, (_, where) in enumerate(both)))
                    wanted.add(("lutece.meal-tariff", *origin, "meal-tariff.schools", record.key, band))
        assert arrived == {at for at in values if at[0] in SIDES}
        return wanted

    async def compare_state(self):
        """What each checkpoint of the join holds, against the log as far as it says it went. Returns counts."""
        log, folded, subjects = await self.read(JOIN_LOG), 0, 0
        for (_, partition), records in log.items():
            newest = {}
            next_, held = await self._checkpoint(partition)
            for record in records:
                if record.offset < next_:
                    side, rank, (_, *where) = arrival(record)
                    newer(newest, record.key, side, rank, tuple(where))
            assert held == {(subject, side, *where) for (subject, side), (_, where) in newest.items()}
            folded, subjects = folded + next_, subjects + len({subject for subject, *_ in held})
        return {"folded": folded, "of": sum(map(len, log.values())), "subjects": subjects}

    async def _checkpoint(self, partition):
        """Of a partition that somebody has just taken over, the file may not be made yet."""
        async with asyncio.timeout(TAKEN_OVER_S):
            while True:
                with suppress(sqlite3.OperationalError):
                    return checkpoint(self._checkpoints() / f"{partition}.db")
                await asyncio.sleep(0.2)

    def lose_checkpoints(self):
        """Whoever has one open goes on with it, and it is gone with that process."""
        shutil.rmtree(self._checkpoints())

    def _checkpoints(self):
        return self.city.home.store / "agents/lutece" / JOIN_LOG

    def _band(self, household, income):
        monthly = income["reference_income_cents"] / 12 / (household["adults"] + household["dependants"] / 2)
        starts = (400_00, 700_00, 1_000_00, 1_500_00, 2_200_00, 3_200_00)
        letter = "ABCDEFG"[sum(monthly >= start for start in starts)]
        return self.catalogue.by_type("schools.meal-tariff.v1").encode({"tariff_band": letter})

    def _seen(self, record):
        proposal = parse_proposal(record.headers)
        o = proposal.origin
        return (o.rule, o.topic, o.partition, o.offset, proposal.flow, record.key, record.value)

    def _difference(self, got, wanted):
        missing, extra = Counter(w[:2] for w in set(wanted) - set(got)), Counter(g[:2] for g in set(got) - set(wanted))
        return f"missing {missing}, too much {extra}, doubled {len(got) - len(set(got))}"


SIDES = (topic_of(HOUSEHOLDS), topic_of(INCOMES))


def arrival(record):
    """(side, rank, origin) of a record of the join's log: the event that is newest wins, by when it happened."""
    _, side, partition, offset, occurred, outboxed = struct.unpack_from(">BBiqqq", record.value)
    return side, (min(occurred, outboxed), offset), (SIDES[side], partition, offset)


def newer(newest, subject, side, rank, where):
    """Take an arrival in, and tell whether it is the newest of its side for that person."""
    if (subject, side) in newest and newest[subject, side][0] >= rank:
        return False
    newest[subject, side] = (rank, where)
    return True


def checkpoint(path):
    """(next offset, what is held): the format of the SDK's file, read by hand."""
    held = set()
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:  # else it would be made here
        ((next_,),) = db.execute("select next from fold")
        for subject, packed in db.execute("select subject, entries from held"):
            at = 0
            while at < len(packed):
                side, partition, offset, _, _, _, _, size = HELD.unpack_from(packed, at)
                held.add((subject, side, partition, offset))
                at += HELD.size + size
    return next_, held


HELD = struct.Struct(">Biqqqq8sI")


MOVED = {
    "move.tax": (
        "tax.taxpayer-moved.v1",
        {
            name: name
            for name in (
                "moved_on",
                "previous_street",
                "previous_postcode",
                "previous_city",
                "new_street",
                "new_postcode",
                "new_city",
            )
        },
    ),
    "move.schools": (
        "schools.pupil-moved.v1",
        {"moved_on": "moved_on", "street": "new_street", "postcode": "new_postcode", "city": "new_city"},
    ),
    "move.cleanliness": (
        "cleanliness.new-resident.v1",
        {"moved_on": "moved_on", "street": "new_street", "postcode": "new_postcode", "residents": "household_size"},
    ),
}


@dataclass
class Worker:
    """`passerelle agents run lutece.agents`, started anew when it gives up or is killed."""

    city: object
    name: str
    command: tuple = ("passerelle.cli", "agents", "run", "lutece.agents")
    ends: list = field(default_factory=list)

    def start(self):
        self.log = self.city.home.root / f"{self.name}.log"
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **self.city.env()},
                start_new_session=True,
            )
        return self

    def lines(self):
        for line in self.log.read_text().splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                continue

    async def ready(self, times=1):
        await self._until(lambda: sum(line.get("event") == "ready" for line in self.lines()) >= times)

    async def said(self, word):
        """For a log that is not JSON."""
        await self._until(lambda: word in self.log.read_text())

    async def _until(self, seen):
        end = time.monotonic() + 60
        while not seen():
            assert time.monotonic() < end, self.log.read_text()[-2000:]
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            await asyncio.sleep(0.1)

    def kill_and_start(self):
        self.process.kill()
        self.ends.append(self.process.wait())
        self.start()

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        """SIGTERM, and the exit code."""
        self.signal(signal.SIGCONT)
        self.process.terminate()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
