"""The relay of a department's PostgreSQL, on a real server and a real broker: what was committed, in order, each row
once whenever it crashes."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from integration.test_consent_service import serving
from passerelle.publish.outbox_table import DDL
from passerelle.publish.outgoing import Outgoing, prepare
from passerelle.publish.steady import ShutOut, SteadySender
from passerelle_schemas.topics import dead_letter, outbox, outbox_writer, partition_of

DYING = Path(__file__).parent / "dying_relay.py"

pytestmark = [pytest.mark.broker, pytest.mark.postgresql, pytest.mark.timeout(240)]

DEPARTMENT, TYPE = "tax", "tax.income-assessed.v1"
TOPIC = outbox("tax", "income-assessed")
SECONDS_MAX = 60
KEYS = [bytes([n]) * 16 for n in range(1, 8)]
INSERT = "INSERT INTO passerelle_outbox (type, pseudonym, value) VALUES (%s, %s, %s) RETURNING event_id::text"


@pytest.fixture
def database(postgresql):
    url = postgresql.database().replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(DDL)
    return url


@pytest.fixture
def sessions(database):
    """Opens sessions of the department's own application; closes what the test left open."""
    opened = []

    def connect(**options):
        opened.append(psycopg.connect(database, **options))
        return opened[-1]

    yield connect
    for session in opened:
        session.close()


class Running:
    """A process of `passerelle publish outbox run`."""

    def __init__(self, city, database, *arguments, command=("-m", "passerelle.cli")):
        self.log = city.home.root / f"relay-{time.monotonic_ns()}.log"
        run = ["publish", "outbox", "run", "-d", DEPARTMENT, "--database", database, *arguments]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, *command, *run], stdout=out, stderr=out, env={**os.environ, **city.env()}
            )

    def wait_for(self, event):
        until = time.monotonic() + SECONDS_MAX
        while f'"event": "{event}"' not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.02)  # a log file has no event to wait for

    def end(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(SECONDS_MAX)


@pytest.fixture
def relays(city, database):
    started = []

    def start(*arguments, ready=True, **command):
        started.append(Running(city, database, *arguments, **command))
        if ready:
            started[-1].wait_for("ready")
        return started[-1]

    yield start
    for relay in started:
        relay.end(signal.SIGKILL)


class Published:
    """Reads an outbox from where it ended when the test began."""

    def __init__(self, city):
        settings = {**city.access("observer").confluent(), "group.id": "observer", "fetch.wait.max.ms": 50}
        self.consumer = Consumer(settings)
        self.records = []
        starts = []
        for partition in range(city.manifest.partitions):
            _, end = self.consumer.get_watermark_offsets(TopicPartition(TOPIC, partition), SECONDS_MAX)
            starts.append(TopicPartition(TOPIC, partition, end))
        self.consumer.assign(starts)

    def exactly(self, ids):
        """Whether these ids are all that was committed, each once, when the last of them is behind all others."""
        assert sorted(self.until(ids)) == sorted(ids)

    def until(self, ids):
        """Read until each of these ids was seen; return all ids in the order of their partitions."""
        wanted, until = set(ids), time.monotonic() + SECONDS_MAX
        while wanted - {ce_id(r) for r in self.records}:
            assert time.monotonic() < until, f"{len(self.records)} records, {len(wanted)} wanted"
            self.records += [r for r in self.consumer.consume(500, 0.2) if r.error() is None]
        return [ce_id(r) for r in self.records]

    def of(self, key):
        """The ids of one person's events in the order in which they stand."""
        return [ce_id(r) for r in self.records if r.key() == key]


@pytest.fixture
def published(city):
    reading = Published(city)
    yield reading
    reading.consumer.close()


def ce_id(record):
    return dict(record.headers())["ce_id"].decode()


def insert(session, key, n=0, **value):
    example = {"income_year": 2025, "reference_income_cents": n, "parts_hundredths": 100, "assessed_on": "2026-08-03"}
    return session.execute(INSERT, (TYPE, key, json.dumps({**example, **value}))).fetchone()[0]


def waiting(session):
    return session.execute("SELECT count(*) FROM passerelle_outbox WHERE refused IS NULL").fetchone()[0]


def test_exactly_what_was_committed_is_published_and_then_forgotten(city, sessions, relays, published):
    one = sessions()
    kept = [insert(one, KEYS[n % 7], n) for n in range(50)]
    one.commit()
    undone = [insert(one, KEYS[0], n) for n in range(5)]
    one.rollback()
    relays()
    kept += [insert(one, KEYS[0], 99)]
    one.commit()  # the relay sleeps by now: this wakes it
    assert sorted(published.until(kept)) == sorted(kept)
    assert not set(undone) & set(published.until(kept))
    record = published.records[0]
    assert record.partition() == partition_of(record.key(), city.manifest.partitions)
    assert dict(record.headers())["ce_source"] == b"/department/tax"
    catalogue = city.manifest.policy_bundle().catalogue
    assert catalogue.decode(record.value())[1]["assessed_on"].isoformat() == "2026-08-03"
    relays_end_with_an_empty_table(sessions())


def relays_end_with_an_empty_table(session):
    until = time.monotonic() + SECONDS_MAX
    session.autocommit = True
    while waiting(session):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_lower_id_that_commits_later_is_neither_lost_nor_overtaken(sessions, relays, published):
    slow, quick = sessions(), sessions()
    relays()
    first = insert(slow, KEYS[1], 1)
    second = insert(quick, KEYS[1], 2)
    quick.commit()
    third = insert(quick, KEYS[1], 3)
    quick.commit()
    # Nothing may go while somebody may still commit a lower id.
    published.consumer.poll(1.0)
    assert waiting(sessions(autocommit=True)) == 2
    slow.commit()
    published.until([first, second, third])
    assert published.of(KEYS[1]) == [first, second, third]


def test_what_is_held_goes_when_the_open_transaction_is_rolled_back(sessions, relays, published):
    slow, quick = sessions(), sessions()
    relays()
    never = insert(slow, KEYS[2])
    kept = insert(quick, KEYS[2])
    quick.commit()
    slow.rollback()
    assert never not in published.until([kept])


def test_readers_and_other_tables_hold_nobody_up(sessions, relays, published):
    reader, writer = sessions(), sessions()
    writer.execute("CREATE TABLE other (n int)")
    writer.commit()
    reader.execute("SELECT count(*) FROM passerelle_outbox")
    reader.execute("INSERT INTO other VALUES (1)")
    relays()
    kept = insert(writer, KEYS[3])
    writer.commit()
    published.until([kept])


@pytest.mark.parametrize("place", ["before_it_sends", "in_the_transaction", "after_the_commit"])
def test_killed_at_any_step_it_publishes_exactly_the_rows_committed(place, sessions, relays, published):
    session = sessions(autocommit=True)
    kept = [insert(session, KEYS[n % 7], n) for n in range(50)]
    bad = insert(session, KEYS[0], assessed_on="never")
    died = relays(command=(str(DYING), place), ready=False)
    assert died.process.wait(SECONDS_MAX) == -signal.SIGKILL, died.log.read_text()
    assert waiting(session) == 51  # none is forgotten
    assert relays("--once", ready=False).process.wait(SECONDS_MAX) == 1  # one is refused
    kept += [insert(session, key) for key in KEYS]  # each partition's last record
    assert relays("--once", ready=False).process.wait(SECONDS_MAX) == 0
    published.exactly(kept)
    assert session.execute("SELECT event_id::text FROM passerelle_outbox").fetchall() == [(bad,)]


def test_killed_again_and_again_it_loses_repeats_and_reorders_nothing(city, sessions, relays, published):
    seed = int(os.environ.get("SEED", str(random.randrange(1 << 30))))
    print(f"SEED={seed}")
    rng = random.Random(seed)
    committed = {key: [] for key in KEYS}
    writing = threading.Thread(target=write_for_a_while, args=(sessions, rng, committed))
    writing.start()
    for _ in range(4):
        relay = relays()
        relay.wait_for("batch")
        relay.end(signal.SIGKILL)
    writing.join()
    relays()
    everything = [event for ids in committed.values() for event in ids]
    seen = published.until(everything)
    assert sorted(seen) == sorted(everything)
    for key in KEYS:
        assert published.of(key) == committed[key]
    relays_end_with_an_empty_table(sessions())


def write_for_a_while(sessions, rng, committed):
    """Several sessions, each with its own people, as an application that locks whom it writes about would do."""
    writers = [sessions() for _ in range(3)]
    for n in range(3_000):
        turn = rng.randrange(len(writers))
        keys = KEYS[turn :: len(writers)]
        batch = [(key, insert(writers[turn], key, n)) for key in rng.choices(keys, k=rng.randint(1, 3))]
        if rng.random() < 0.1:
            writers[turn].rollback()
            continue
        writers[turn].commit()
        for key, event in batch:
            committed[key].append(event)


def test_bad_rows_become_dead_letters_and_hold_nobody_up(city, sessions, relays, published):
    session = sessions(autocommit=True)
    secret = "Marie Curie"
    insert(session, KEYS[4], assessed_on=secret)
    insert(session, KEYS[4], **{secret: 1})
    session.execute(INSERT, (secret, KEYS[4], "{}"))
    session.execute(INSERT, ("schools.meal-tariff.v1", KEYS[4], "{}"))
    good = insert(session, KEYS[4])
    relay = relays("--once")
    published.until([good])
    assert relay.process.wait(SECONDS_MAX) == 1
    rows = session.execute("SELECT id, refused FROM passerelle_outbox ORDER BY id").fetchall()
    assert [refused.split(":")[0] for _, refused in rows] == [
        "field assessed_on",
        "field ?",
        "the type is not an event that tax publishes",
        "the type is not an event that tax publishes",
    ]
    letters = dead_letters(city, {row for row, _ in rows})
    assert {letter["topic"] for letter in letters} == {"passerelle_outbox"}
    assert secret not in json.dumps(letters) + str(rows) + relay.log.read_text()


def test_a_refused_row_is_listed_mended_and_replayed_with_its_id(city, database, sessions, relays, published):
    session = sessions(autocommit=True)
    event = insert(session, KEYS[4], assessed_on="never")
    assert relays("--once", ready=False).process.wait(SECONDS_MAX) == 1
    ((row,),) = session.execute("SELECT id FROM passerelle_outbox").fetchall()
    reference = f"passerelle_outbox[0]@{row}"
    # Other tests' databases have rows of the same numbers: what counts is the last letter.
    before = deadletters(city, "list", "--json")
    assert before.returncode == 1
    (mine,) = [one for one in json.loads(before.stdout) if one["reference"] == reference]
    assert (mine["owner"], mine["reason"]) == ("tax", "field assessed_on: does not fit its type")
    session.execute('UPDATE passerelle_outbox SET value = value || \'{"assessed_on": "2026-08-03"}\'')
    with serving(city, city.home.root / "consent.log") as consent:
        asked = ("--cause", "source-mended", "--database", database, "--consent-url", consent.url)
        replayed = deadletters(city, "replay", reference, *asked)
    assert replayed.returncode == 0, replayed.stderr
    assert relays("--once", ready=False).process.wait(SECONDS_MAX) == 0
    published.until([event])
    again = deadletters(city, "discard", reference, "--cause", "not-needed", "--database", database)
    assert again.returncode == 1
    assert f"no dead letter {reference} waits" in again.stderr


def deadletters(city, *arguments):
    command = [sys.executable, "-m", "passerelle.cli", "deadletters", *arguments, "--owner", DEPARTMENT]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **city.env()}, check=False)


def dead_letters(city, rows):
    """The letters about these rows, read as the department itself may."""
    settings = {**city.access(DEPARTMENT).confluent(), "group.id": "unused", "enable.auto.commit": False}
    consumer = Consumer(settings)
    consumer.assign([TopicPartition(dead_letter(DEPARTMENT), 0, OFFSET_BEGINNING)])
    found, until = [], time.monotonic() + SECONDS_MAX
    try:
        while rows - {letter["offset"] for letter in found}:
            assert time.monotonic() < until
            found += [json.loads(r.value()) for r in consumer.consume(100, 0.2) if r.error() is None]
    finally:
        consumer.close()
    return found


def test_a_second_relay_waits_its_turn(relays):
    first = relays()
    second = relays("--patience-s", "1", ready=False)
    assert second.process.wait(SECONDS_MAX) == 75
    assert "another relay reads this outbox" in second.log.read_text()
    assert first.end() == 0


def test_a_relay_that_slept_through_its_successor_sends_nothing_more(city, postgresql, sessions, relays, published):
    """Stopped between reading and sending, its session ended, and continued when another has its place."""
    catalogue = city.manifest.policy_bundle().catalogue
    session = sessions(autocommit=True)
    with SteadySender(city.access(DEPARTMENT), outbox_writer(DEPARTMENT)) as sleeper:
        sleeper.start()
        kept = insert(session, KEYS[6])
        relays()
        published.until([kept])
        late = Outgoing(
            type=TYPE,
            pseudonym=KEYS[6],
            value=catalogue.by_type(TYPE).example,
            event_id="late",
            time=datetime.now(UTC),
        )
        with pytest.raises(ShutOut):
            sleeper.send([prepare(catalogue, DEPARTMENT, late)])
    again = insert(session, KEYS[6])
    assert "late" not in published.until([again])


def test_it_goes_on_when_its_session_is_ended(postgresql, sessions, relays, published):
    relay = relays()
    postgresql.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'passerelle-outbox'"
    )
    relay.wait_for("outbox not published")
    session = sessions(autocommit=True)
    published.until([insert(session, KEYS[5])])


@pytest.mark.parametrize(
    ("database", "said"),
    [("postgresql://nobody@127.0.0.1:1/none", "does not answer"), ("nonsense", "cannot be used")],
)
def test_a_database_that_is_none_is_one_line(city, database, said):
    run = ["publish", "outbox", "run", "-d", DEPARTMENT, "--database", database, "--patience-s", "1"]
    command = [sys.executable, "-m", "passerelle.cli", *run]
    ended = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **city.env()}, check=False)
    assert ended.returncode in (2, 75)
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
