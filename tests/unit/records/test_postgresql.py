"""What only a database across a network can do: lose a session, share rows with an operator, part two processes."""

import asyncio
import threading

import psycopg
import pytest
import sqlalchemy as sa

from passerelle_consent.records import problems, sql
from passerelle_consent.records.database import StoreFault, StoreLost
from passerelle_consent.records.problems import Problem
from passerelle_consent.records.store import Store
from passerelle_consent.records.vacuum import vacuum
from unit.records.fakes import City, until

pytestmark = pytest.mark.postgresql

SESSION_THAT_WRITES = """
    SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
A_S_MAX = 20
"""Of a thing that takes milliseconds."""


@pytest.fixture
def url(postgresql):
    return postgresql.database()


@pytest.fixture
def operator(postgresql, url):
    """Somebody with a shell on the database."""
    with psycopg.connect(postgresql.conninfo(sa.make_url(url).database)) as conn:
        yield conn


@pytest.fixture
async def store(url):
    store = Store(url)
    await store.open()
    yield store
    await store.close()


def outbox_row(topic):
    row = {"topic": topic, "partition": 0, "key": None, "value": b"", "settles": None, "fenced": False}
    return lambda conn: conn.execute(sql.INSERT_OUTBOX, [row])


def end_session(operator):
    assert operator.execute(SESSION_THAT_WRITES).fetchall() == [(True,)]
    operator.rollback()


async def opened(url):
    """A store of another process, as soon as the server has seen the last one's end."""
    async with asyncio.timeout(A_S_MAX):
        while True:
            store = Store(url)
            try:
                await store.open()
            except StoreFault:
                await asyncio.sleep(0.01)
            else:
                return store


async def topics(store):
    return [row.topic for row in await store.read(lambda conn: conn.execute(sql.UNSENT, {"batch": 9}).all())]


async def test_a_service_that_lost_its_session_sends_no_more_and_ends(url, operator, monkeypatch):
    monkeypatch.setattr("passerelle_consent.records.service.DRAIN_S", 0.1)
    city = City(url, patience_s=0)
    await city.up()
    (pseudonym,) = await city.link("Durand")
    await until(lambda: city.broker.of("consent", city.ref(pseudonym)))
    city.broker.silent = True  # what is sent from here on is counted and not answered
    end_session(operator)
    assert (await city.say("give", pseudonym)).status_code == 503
    await until(lambda: city.broken)
    assert isinstance(city.broken[0], StoreLost)
    assert city.broken[0].exit_code == 75
    sends = city.broker.sends
    operator.execute("INSERT INTO outbox (topic, partition, value, fenced) VALUES ('consent', 0, '', false)")
    operator.commit()
    city.records._relay.wake()
    with pytest.raises(Problem):
        await city.records._relay.step()
    assert city.broker.sends == sends
    assert (await city.call("GET", "/readyz", token=None)).status_code == 503
    await city.down()


async def test_a_producer_started_after_the_session_was_lost_sends_nothing(url, operator, monkeypatch):
    """The process was stopped between reading rows and starting its producer; meanwhile another one sent newer ones."""
    monkeypatch.setattr("passerelle_consent.records.service.DRAIN_S", 0.1)
    city = City(url, patience_s=0)
    connect = city.broker.connect

    async def late():
        end_session(operator)
        return await connect()

    city.broker.connect = late
    await city.up()
    await until(lambda: city.broken)
    assert city.broker.producers == 1
    assert city.broker.sends == 0
    await city.down()


async def test_what_a_lost_session_had_open_is_undone_before_another_process_takes_over(url, store, operator):
    written, go_on = threading.Event(), threading.Event()

    def slow(conn):
        outbox_row("of the first")(conn)
        written.set()
        go_on.wait(A_S_MAX)

    writing = asyncio.create_task(store.write(slow))
    await asyncio.to_thread(written.wait, A_S_MAX)
    end_session(operator)
    second = await opened(url)
    await second.write(outbox_row("of the second"))
    go_on.set()
    with pytest.raises(Problem) as refused:
        await writing
    assert refused.value.kind is problems.NOT_READY, "nobody may be told that nothing changed, or that it did"
    assert await topics(second) == ["of the second"]
    await second.close()


async def test_rows_become_visible_in_the_order_of_their_ids(store):
    """A reader that saw id n never finds a lower one later: it could be an older standing of the same subject."""
    seen = []

    async def watch():
        while len(seen) < 200:
            rows = await store.read(lambda conn: conn.execute(sa.select(sql.outbox.c.id)).scalars().all())
            fresh = sorted(set(rows) - set(seen))
            assert not fresh or not seen or fresh[0] > seen[-1]
            seen.extend(fresh)

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(store.write(outbox_row(str(n))) for n in range(200)))
    async with asyncio.timeout(A_S_MAX):
        await watching
    assert await store.read(lambda conn: conn.execute(sa.select(sa.func.count(sql.outbox.c.id))).scalar_one()) == 200


async def test_locks_met_the_wrong_way_round_are_tried_again(store, operator):
    for ref in (b"a" * 16, b"b" * 16):
        row = {"ref": ref, "linked_at_ms": 0, "revision": 1, "restricted_since_ms": None}
        await store.write(lambda conn, row=row: conn.execute(sql.INSERT_SUBJECTS, [row]))
    operator.execute("UPDATE subjects SET revision = 7 WHERE ref = %s", (b"b" * 16,))
    attempts, crossing = [], threading.Event()

    def cross():
        operator.execute("UPDATE subjects SET revision = 7 WHERE ref = %s", (b"a" * 16,))
        operator.commit()

    def both(conn):
        attempts.append(conn)
        conn.execute(sql.REVISE, {"of": b"a" * 16, "revision": 2})
        if not crossing.is_set():
            crossing.set()
            threading.Thread(target=cross).start()
        conn.execute(sql.REVISE, {"of": b"b" * 16, "revision": 2})

    await store.write(both)
    assert len(attempts) > 1
    revisions = await store.read(lambda conn: conn.execute(sa.select(sql.subjects.c.revision)).scalars().all())
    assert revisions == [2, 2]


async def test_a_table_that_an_operator_holds_is_an_answer_and_no_hang(store, operator):
    operator.execute("LOCK TABLE outbox IN EXCLUSIVE MODE")
    with pytest.raises(Problem) as refused:
        await store.write(outbox_row("held"))
    assert refused.value.kind is problems.STORE_UNAVAILABLE
    operator.rollback()
    await store.write(outbox_row("free"))
    assert await topics(store) == ["free"]


async def test_a_server_that_is_not_there_is_one_clear_fault(tmp_path):
    store = Store(f"postgresql+psycopg://consent:secret@/db?host={tmp_path}")
    with pytest.raises(StoreFault, match="cannot be opened") as refused:
        await store.open()
    assert "secret" not in str(refused.value)
    await store.close()


FILES = "SELECT relname, relfilenode FROM pg_class WHERE relkind = 'r' AND relname = ANY(%s)"


async def test_a_vacuum_rewrites_every_table_and_leaves_nothing_of_what_was_deleted(url, operator, store):
    row = {"topic": "consent", "partition": 0, "key": b"", "value": b"CANARY", "settles": None, "fenced": False}
    await store.write(lambda conn: conn.execute(sql.INSERT_OUTBOX, [row]))
    await store.write(lambda conn: conn.execute(sa.delete(sql.outbox)))
    tables = sorted(sql.metadata.tables)
    before = dict(operator.execute(FILES, (tables,)).fetchall())
    operator.rollback()
    assert sorted(vacuum(url)) == tables
    after = dict(operator.execute(FILES, (tables,)).fetchall())
    assert before.keys() == after.keys() == set(tables)
    assert all(before[name] != after[name] for name in tables)
    size = operator.execute("SELECT pg_relation_size('outbox')").fetchone()
    assert size == (0,)


def test_sqlite_has_nothing_to_vacuum(tmp_path):
    with pytest.raises(StoreFault, match="nothing to vacuum"):
        list(vacuum(f"sqlite:///{tmp_path}/consent.db"))
