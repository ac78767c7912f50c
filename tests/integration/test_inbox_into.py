"""An inbox in a recipient's own database, on a real broker: exactly once, whatever is killed, and in tables."""

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from integration.dying_reader import NOTED as NOTE
from integration.dying_reader import PLACES
from integration.test_publish_receive import POOL, commit, deliver
from passerelle.cli.into import database_of
from passerelle.envelope import Event, notice_headers
from passerelle.receive.into import DDL_POSTGRESQL, DDL_SQLITE
from passerelle.receive.positions import DDL
from passerelle.receive.transactional import TransactionalInbox
from passerelle_schemas.topics import SUBJECT_ERASED, inbox, partition_of

pytestmark = [pytest.mark.broker, pytest.mark.postgresql, pytest.mark.timeout(240)]

WAIT_S = 10
INBOX = inbox("schools")
NOTED = "CREATE TABLE noted (partition int, at bigint, reader int)"
READER = Path(__file__).parent / "dying_reader.py"


@pytest.fixture(scope="module")
def catalogue(city):
    return city.manifest.policy_bundle().catalogue


@pytest.fixture(scope="module")
def gate(city):
    producer = Producer({**city.access("gate").confluent(), "transactional.id": "gate-0"})
    producer.init_transactions(WAIT_S)
    return producer


@pytest.fixture
def release(city, gate, catalogue):
    """Releases so many deliveries in small transactions, as the gate does; each has a number of its own."""

    def released(many, *, each=40):
        for start in range(0, many, each):
            gate.begin_transaction()
            for _ in range(start, min(start + each, many)):
                deliver(gate, catalogue, next(NUMBERS))
            commit(city, gate)

    return released


NUMBERS = count(10_000)


def forget(city, gate, key, erasure):
    """What the gate writes when a person is erased."""
    event = Event(id=erasure.hex(), source="/passerelle/consent", type=SUBJECT_ERASED, time="2026-11-23T10:00:00.000Z")
    gate.begin_transaction()
    gate.produce(INBOX, b"", key, partition_of(key, 4), headers=notice_headers(event))
    commit(city, gate)


@pytest.fixture(params=["postgresql", "sqlite"])
def database(request, tmp_path):
    """The URL of an empty database, and what runs SQL on it as its owner would."""
    if request.param == "sqlite":
        path = tmp_path / "schools.db"
        sqlite3.connect(path).executescript(DDL + DDL_SQLITE + NOTED)

        def run(statement):
            with sqlite3.connect(path) as connection:
                return connection.execute(statement).fetchall()

        return f"sqlite:///{path}", run
    server = request.getfixturevalue("postgresql")
    url = server.database()
    server_sql = url.replace("+psycopg", "")
    with psycopg.connect(server_sql, autocommit=True) as owner:
        owner.execute(DDL + DDL_POSTGRESQL + NOTED)

    def run(statement):
        with psycopg.connect(server_sql, autocommit=True) as owner:
            found = owner.execute(statement)
            return found.fetchall() if found.description else []

    return url, run


class Reading:
    """A process of `dying_reader`."""

    def __init__(self, city, url, place="never", occasion=1, group="another"):
        self.log = city.home.root / f"reader-{time.monotonic_ns()}.log"
        command = [sys.executable, str(READER), url, place, str(occasion), group]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **city.env()})

    def ended(self, *codes):
        assert self.process.wait(90) in codes, self.log.read_text()


def into(city, url, *arguments):
    command = [sys.executable, "-m", "passerelle.cli", "inbox", "into", "-d", "schools", "--database", url, *arguments]
    env = {**os.environ, **city.env()}
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False, timeout=120)


def in_the_inbox(city):
    """Every (partition, offset) and its person, as a read_committed reader sees them."""
    settings = {"group.id": "observer", "enable.auto.commit": False, "enable.partition.eof": True}
    consumer = Consumer({**city.access("observer").confluent(), **settings})
    consumer.assign([TopicPartition(INBOX, p, OFFSET_BEGINNING) for p in range(city.manifest.partitions)])
    found, ends, until = {}, 0, time.monotonic() + 30
    while ends < city.manifest.partitions:
        assert time.monotonic() < until
        for record in consumer.consume(500, 0.2):
            if record.error() is None:
                found[record.partition(), record.offset()] = record.key()
            else:
                ends += 1
    consumer.close()
    return found


def noted(run):
    return sorted((partition, at) for partition, at in run("SELECT partition, at FROM noted"))


def test_killed_at_every_place_each_is_applied_once(city, database, release):
    url, run = database
    release(120)
    for place in PLACES:
        Reading(city, url, place, 2).ended(0 if place == "never" else -signal.SIGKILL)
        release(40)
    Reading(city, url).ended(0)
    assert noted(run) == sorted(in_the_inbox(city))


def test_two_readers_that_are_killed_at_random_apply_each_once(city, database, release):
    url, run = database
    seed = int(os.environ.get("SEED", str(random.randrange(1 << 30))))
    print(f"SEED={seed}")
    rng = random.Random(seed)
    for _ in range(3):
        release(200)
        places = rng.sample(PLACES[:-1], 2)
        both = [Reading(city, url, place, rng.randint(1, 4)) for place in places]
        for reader in both:
            reader.ended(0, -signal.SIGKILL)
    Reading(city, url).ended(0)
    assert noted(run) == sorted(in_the_inbox(city))


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
async def test_who_waits_for_another_readers_batch_finds_that_it_was_overtaken(city, catalogue, database, release):
    """The second reader meets the first in the middle of its first transaction, and waits for its row."""
    url, run = database
    release(200)
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def read(group, number):
        own = database_of(url)
        inbox = TransactionalInbox(city.access("admin"), "schools", catalogue, own)
        inbox._consumer._group = group

        async def note(one, session):
            if number == 1 and not inside.is_set():
                inside.set()
                await go_on.wait()
            await own.run(session, NOTE, {"partition": one.partition, "at": one.offset, "reader": number})

        async with inbox:
            await inbox.apply(note, on_erased=note, follow=False)
        await own.close()
        return inbox.counts.overtaken

    first = asyncio.create_task(read("first", 1))
    await inside.wait()
    second = asyncio.create_task(read("second", 2))
    until = time.monotonic() + WAIT_S
    while run("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") == [(0,)]:
        assert time.monotonic() < until
        await asyncio.sleep(0.02)  # PostgreSQL tells nobody that a session waits
    go_on.set()
    assert sum(await asyncio.gather(first, second)) >= 1
    assert noted(run) == sorted(in_the_inbox(city))


def test_readers_of_one_group_share_the_partitions_and_hand_them_over(city, database, release):
    """What Kafka believes counts for nothing: its offset stands at the end after the first of two databases."""
    url, run = database
    release(300, each=10)
    readers = [Reading(city, url, group="own") for _ in range(2)]
    release(100, each=10)
    for reader in readers:
        reader.ended(0)
    Reading(city, url, group="own").ended(0)
    assert noted(run) == sorted(in_the_inbox(city))


def test_a_database_restored_from_a_backup_gets_what_it_lacks(city, database, release):
    url, run = database
    release(10)
    Reading(city, url).ended(0)
    run("DELETE FROM noted WHERE partition = 0")
    run("UPDATE passerelle_inbox SET next_offset = 0 WHERE partition = 0")
    Reading(city, url).ended(0)
    assert noted(run) == sorted(in_the_inbox(city))


def test_a_database_that_is_ahead_of_the_inbox_is_another_brokers(city, database):
    url, run = database
    run(f"INSERT INTO passerelle_inbox VALUES ('{INBOX}', 0, 1000000)")  # noqa: S608 - a constant
    ended = into(city, url, "--once")
    assert ended.returncode == 2
    assert "the database has read up to 1000000 of an inbox that ends at" in ended.stderr


def test_the_tables_hold_what_was_delivered_and_forget_whom_the_bus_forgot(city, database, gate, release):
    url, run = database
    release(60)
    ended = into(city, url, "--once")
    assert ended.returncode == 0, ended.stderr
    others = [key for key in in_the_inbox(city).values() if key != POOL[3]]  # whom another test's run may have erased
    rows = run("SELECT pseudonym FROM passerelle_deliveries")
    assert sorted(bytes(row[0]) for row in rows if row[0] != POOL[3]) == sorted(others)
    assert run("SELECT count(*) FROM passerelle_current") == [(len(POOL),)]
    assert run("SELECT count(*) FROM passerelle_deliveries WHERE delete_by <= released") == [(0,)]
    forget(city, gate, POOL[3], os.urandom(16))
    assert into(city, url, "--once", "--consent-url", "http://127.0.0.1:1").returncode == 0
    left = {bytes(row[0]) for row in run("SELECT DISTINCT pseudonym FROM passerelle_deliveries")}
    assert left == set(POOL) - {POOL[3]}
    *_, (pseudonym, done) = run("SELECT pseudonym, done_at FROM passerelle_erasures")
    assert (bytes(pseudonym), done) == (POOL[3], None)


def test_without_its_tables_it_says_how_to_make_them(city, postgresql):
    ended = into(city, postgresql.database(), "--once")
    assert ended.returncode == 2
    assert "passerelle inbox table ddl" in ended.stderr
    assert "Traceback" not in ended.stderr
