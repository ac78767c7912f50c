"""The ledger's database, SQLite or PostgreSQL: its tables come from the revisions, and one writer leads."""

import threading

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata, produce_migrations, render_python_code
from alembic.runtime.migration import MigrationContext

from passerelle_consent.ledger.database import sql
from passerelle_consent.ledger.database.migrations import VERSION_TABLE
from passerelle_consent.ledger.database.store import Store, StoreAway, StoreFault
from passerelle_consent.ledger.database.writer import NotLeader
from passerelle_consent.ledger.sealing.vault import SealedEntry
from passerelle_consent.records import sql as records

REVISIONS = "ledger/database/migrations/versions"
S_MAX = 20
"""Of a thing that takes milliseconds."""


@pytest.fixture
def store_url(empty_url):
    """The tables are the tests' matter."""
    return empty_url


@pytest.fixture
def engine(store_url):
    """Of a database that a store has brought up to date."""
    Store(store_url).close()
    engine = sa.create_engine(store_url)
    yield engine
    engine.dispose()


def test_the_migrations_make_the_tables_that_the_statements_are_about(engine):
    with engine.connect() as conn:
        context = MigrationContext.configure(conn, opts={"version_table": VERSION_TABLE})
        if compare_metadata(context, sql.metadata):
            missing = render_python_code(produce_migrations(context, sql.metadata).upgrade_ops)
            pytest.fail(f"add what `sql` has to the newest revision in {REVISIONS}:\n{missing}")


def test_the_tables_are_the_same_to_the_letter(engine, request):
    """Alembic compares neither the conditions of partial indexes nor the order of a key's columns."""
    on_sqlite = engine.dialect.name == "sqlite"
    directly = sa.create_engine("sqlite://" if on_sqlite else request.getfixturevalue("postgresql").database())
    sql.metadata.create_all(directly)
    words = AS_SQLITE_HAS_IT if on_sqlite else AS_POSTGRESQL_HAS_IT
    assert said(engine, words) == said(directly, words)
    directly.dispose()


AS_SQLITE_HAS_IT = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"
AS_POSTGRESQL_HAS_IT = """
    SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' UNION ALL
    SELECT table_name || '.' || column_name, concat_ws(' ', ordinal_position, data_type, is_nullable, column_default)
    FROM information_schema.columns WHERE table_schema = 'public'
"""


def said(engine, words):
    with engine.connect() as conn:
        rows = conn.exec_driver_sql(words).all()
    return {name: " ".join(text.split()) for name, text in rows if not name.startswith(VERSION_TABLE)}


def test_a_database_opened_again_is_left_as_it_is(engine, store_url):
    Store(store_url).close()
    with engine.connect() as conn:
        held = MigrationContext.configure(conn, opts={"version_table": VERSION_TABLE}).get_current_heads()
    assert held == ("0001",)


def test_a_database_of_a_later_release_is_refused(engine, store_url):
    with engine.begin() as conn:
        conn.exec_driver_sql("UPDATE ledger_version SET version_num = '0999'")
    with pytest.raises(StoreFault, match="made by a later release \\(revision 0999\\)"):
        Store(store_url)


def test_one_database_can_hold_the_ledger_and_the_consent_store():
    assert not set(sql.metadata.tables) & set(records.metadata.tables)


@pytest.mark.parametrize("url", ["mysql://ledger:secret@host/db", "secret"])
def test_another_database_is_refused_without_its_url(url):
    with pytest.raises(StoreFault) as refused:
        Store(url)
    assert "secret" not in str(refused.value)
    assert refused.value.where == "PASSERELLE_LEDGER_STORE"


@pytest.mark.postgresql
def test_a_server_that_is_not_there_is_one_clear_fault(tmp_path):
    with pytest.raises(StoreAway, match="cannot be opened") as refused:
        Store(f"postgresql+psycopg://ledger:secret@/db?host={tmp_path}")
    assert "secret" not in str(refused.value)


def at_once(work, count):
    """Run it in threads that start together; return what each returned or raised."""
    start, outcomes = threading.Barrier(count), []

    def one(number):
        start.wait(S_MAX)
        try:
            outcomes.append(work(number))
        except Exception as exc:  # noqa: BLE001 - it is an outcome
            outcomes.append(exc)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(S_MAX)
    return outcomes


def test_of_many_that_begin_a_log_together_one_leads(store_url):
    def begin(number):
        store = Store(store_url)
        try:
            with store.writing() as db:
                return db.lead(f"holder {number}", 0, 5_000)
        finally:
            store.close()

    outcomes = at_once(begin, 4)
    assert sum(outcome is not None for outcome in outcomes) == 1, outcomes
    assert [lease.term for lease in outcomes if lease is not None] == [1], outcomes


def test_who_lost_the_lead_commits_nothing_however_late(town):
    """The transaction of one whose lead ended waits for nobody to look: it shows its term in the database."""
    with town.store.writing() as db:
        old = db.lead("one", 0, 5_000)
    with town.store.writing() as db:
        new = db.lead("two", 5_000, 10_000)
    assert (old.term, new.term) == (1, 2)

    def late():
        with town.store.writing() as db:
            db.put_positions("decisions", {0: 7})
            db.renew(old, 15_000)

    with pytest.raises(NotLeader):
        late()
    with town.store.writing() as db:
        assert db.positions("decisions") == {}
        db.renew(new, 15_000)


@pytest.mark.postgresql
@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    "asked",
    [
        lambda db: db.put_positions("decisions", {0: 8}),
        lambda db: db.add_entries(0, [SealedEntry(bytes(16), b"{}", None, None)]),
        lambda db: db.tile(0, 0),
    ],
    ids=["a statement", "rows by COPY", "a tile"],
)
def test_a_session_that_the_server_ends_is_away_and_the_next_is_there(town, asked):
    with town.store.reading() as db:
        assert db.head() is None

    def cut_off():
        with town.store.writing() as db:
            db.put_positions("decisions", {0: 7})
            pid = db._db.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            with psycopg.connect(sa.make_url(town.url).set(drivername="postgresql").render_as_string()) as operator:
                operator.execute("SELECT pg_terminate_backend(%s)", [pid])
            asked(db)

    with pytest.raises(StoreAway):
        cut_off()
    with town.store.reading() as db:
        assert db.positions("decisions") == {}


def test_what_the_driver_itself_says_is_told_as_ever(town):
    """Rows and tiles go past SQLAlchemy: a time-out of theirs is no other thing."""

    def timed_out():
        with town.store.reading() as db:
            raise db._db.dialect.loaded_dbapi.OperationalError("canceling statement due to statement timeout")

    with pytest.raises(StoreAway, match="OperationalError"):
        timed_out()
