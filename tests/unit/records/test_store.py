"""The store on both databases: its tables come from the migrations, and what it cannot do changes nothing."""

import asyncio
from functools import partial

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata, produce_migrations, render_python_code
from alembic.runtime.migration import MigrationContext

from passerelle_consent.records import changes, sql
from passerelle_consent.records.database import StoreFault
from passerelle_consent.records.store import Store
from passerelle_consent.wire import JournalType, decode_journal
from unit.records.fakes import City

REVISIONS = "records/migrations/versions"


@pytest.fixture
def store_url(empty_url):
    """The tables are the tests' matter."""
    return empty_url


async def migrated(url):
    store = Store(url)
    await store.open()
    await store.close()
    return sa.create_engine(url)


async def test_the_migrations_make_the_tables_that_the_statements_are_about(store_url):
    engine = await migrated(store_url)
    with engine.connect() as conn:
        context = MigrationContext.configure(conn, opts={"compare_server_default": True})
        if compare_metadata(context, sql.metadata):
            missing = render_python_code(produce_migrations(context, sql.metadata).upgrade_ops)
            pytest.fail(f"add what `sql` has to the newest revision in {REVISIONS}:\n{missing}")
    engine.dispose()


async def test_the_tables_are_the_same_to_the_letter(store_url, request):
    """Alembic compares neither the conditions of partial indexes nor the order of a key's columns."""
    on_sqlite = store_url.startswith("sqlite")
    made = await migrated(store_url)
    directly = sa.create_engine("sqlite://" if on_sqlite else request.getfixturevalue("postgresql").database())
    sql.metadata.create_all(directly)
    words = AS_SQLITE_HAS_IT if on_sqlite else AS_POSTGRESQL_HAS_IT
    assert said(made, words) == said(directly, words)
    for engine in (made, directly):
        engine.dispose()


AS_SQLITE_HAS_IT = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"
AS_POSTGRESQL_HAS_IT = """
    SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' UNION ALL
    SELECT table_name || '.' || column_name, concat_ws(' ', ordinal_position, data_type, is_nullable, column_default)
    FROM information_schema.columns WHERE table_schema = 'public'
"""


def said(engine, words):
    with engine.connect() as conn:
        rows = conn.exec_driver_sql(words).all()
    return {name: " ".join(text.split()) for name, text in rows if not name.startswith("alembic_version")}


async def test_a_store_opened_again_is_left_as_it_is(store_url):
    (await migrated(store_url)).dispose()
    engine = await migrated(store_url)
    with engine.connect() as conn:
        assert MigrationContext.configure(conn).get_current_heads() == ("0001",)
    engine.dispose()


async def test_a_store_of_a_later_release_is_refused(store_url):
    engine = await migrated(store_url)
    with engine.begin() as conn:
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '0999'")
    store = Store(store_url)
    with pytest.raises(StoreFault, match="made by a later release \\(revision 0999\\)"):
        await store.open()
    await store.close()
    engine.dispose()


@pytest.mark.parametrize("url", ["mysql://consent:secret@host/db", "secret"])
def test_another_database_is_refused_without_its_url(url):
    with pytest.raises(StoreFault) as refused:
        Store(url)
    assert "secret" not in str(refused.value)


async def test_only_what_must_be_on_disk_waits_for_it(store_url):
    ask, durable, soon = (
        ("PRAGMA synchronous", 2, 1) if "sqlite" in store_url else ("SHOW synchronous_commit", "on", "off")
    )
    store = Store(store_url)
    await store.open()

    def waits(conn):
        return conn.exec_driver_sql(ask).scalar_one()

    assert await store.write(waits) == durable
    assert await store.write(waits, durable=False) == soon
    together = asyncio.gather(store.write(waits, durable=False), store.write(waits))
    assert await together == [durable, durable], "one transaction: it waits for whoever must"
    await store.close()


async def test_an_acknowledgement_made_again_after_a_crash_is_the_same_entry(slow_city):
    city = slow_city
    (pseudonym,) = await city.link("Durand")
    await city.say("give", pseudonym)
    where = (await city.say("withdraw", pseudonym)).headers["location"]
    acknowledge = partial(changes.acknowledge, ids=[bytes.fromhex(where[-32:])], now_ms=1, partitions=4)

    def lost(conn):
        acknowledge(conn)
        entries.append(last_entry(conn))
        raise Lost

    entries = []
    with pytest.raises(Lost):
        await city.store.write(lost)
    await city.store.write(lambda conn: (acknowledge(conn), entries.append(last_entry(conn))))
    assert entries[0].type is JournalType.FENCED
    assert entries[0] == entries[1]


class Lost(Exception):
    pass


def last_entry(conn):
    return decode_journal(
        conn.execute(sa.select(sql.outbox.c.value).order_by(sql.outbox.c.id.desc()).limit(1)).scalar()
    )


async def test_a_full_disk_changes_nothing_and_says_so(tmp_path):
    city = City(f"sqlite:///{tmp_path}/consent.db")
    await city.up()
    (pseudonym,) = await city.link("Durand")
    await city.store.write(lambda conn: conn.exec_driver_sql("PRAGMA max_page_count = 1"))
    pages = await city.store.write(lambda conn: conn.exec_driver_sql("PRAGMA page_count").scalar())
    await city.store.write(lambda conn: conn.exec_driver_sql(f"PRAGMA max_page_count = {pages}"))
    answers = [await city.say("give", pseudonym)]
    while answers[-1].status_code == 200 and len(answers) < 300:
        answers += await asyncio.gather(*(city.say("give", pseudonym) for _ in range(20)))
    full = [a for a in answers if a.status_code == 503]
    assert full
    assert full[0].json()["type"].endswith("store-unavailable")
    revisions = [s.revision for s in city.broker.standings(city.ref(pseudonym))]
    assert revisions == list(range(1, len(revisions) + 1))
    assert len(revisions) == 1 + len(answers) - len(full)
    await city.down()


@pytest.mark.parametrize("neighbours", [0, 1])
async def test_a_script_that_raises_changes_nothing_alone_or_among_others(store_url, neighbours):
    store = Store(store_url)
    await store.open()

    def link(ref):
        row = {"ref": ref, "linked_at_ms": 0, "revision": 1, "restricted_since_ms": None}
        return lambda conn: conn.execute(sql.INSERT_SUBJECTS, [row])

    def refused(conn):
        link(b"r" * 16)(conn)
        raise Lost

    others = [link(bytes([n]) * 16) for n in range(neighbours)]
    outcomes = await asyncio.gather(*map(store.write, (refused, *others)), return_exceptions=True)
    assert isinstance(outcomes[0], Lost)
    held = await store.read(lambda conn: conn.execute(sa.select(sql.subjects.c.ref)).scalars().all())
    assert held == [bytes([n]) * 16 for n in range(neighbours)]
    await store.close()
