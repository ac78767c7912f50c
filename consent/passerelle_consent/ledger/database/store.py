"""The ledger's database: SQLite (WAL) embedded, PostgreSQL in production. Statements stand in `reader` and `writer`.

It is the source of the log: entries, tiles, offsets, keys and checkpoints change together, in one transaction that
also shows that its writer still leads.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from passerelle_consent import revisions
from passerelle_consent.ledger.database import migrations
from passerelle_consent.ledger.database.reader import Reader
from passerelle_consent.ledger.database.writer import Writer
from passerelle_consent.write_ahead import write_ahead
from passerelle_schemas.faults import Fault

BUSY_TIMEOUT_S = 10
"""How long SQLite waits for another writer; only a second integrator that asks to lead, or an eraser, writes."""

SWEEP_TIMEOUT_S = 0.2
"""How long a sweep waits for readers. It is tried again with the next step."""

SESSION = {
    "connect_timeout": "5",
    # Some 15 s after the network or the server's host is gone, the session is known to be lost. The server, asked to
    # watch in the same way, then frees the row by which a leader shows that it leads; so it does for one that stopped.
    "keepalives_idle": "5",
    "keepalives_interval": "5",
    "keepalives_count": "2",
    "tcp_user_timeout": "15000",
    "options": "-c lock_timeout=5000 -c statement_timeout=60000 -c idle_in_transaction_session_timeout=10000"
    " -c synchronous_commit=on -c timezone=UTC"
    " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=2",
    "application_name": "passerelle-ledger",
}
"""Of PostgreSQL. `statement_timeout`: a table is filled by one statement, in a second at most; an index of a new
revision, over all entries, may take a while."""

READING = {
    **SESSION,
    "options": rf"{SESSION['options']} -c default_transaction_isolation=repeatable\ read"
    " -c default_transaction_read_only=on",
}
"""Of PostgreSQL, for who only reads: set once for each session, and not for each read."""

VARIABLE = "PASSERELLE_LEDGER_STORE"


class StoreFault(Fault):
    """The database cannot be used: not one of ours, of a later release, or no right to it."""


class StoreAway(Fault):
    """The database did not answer, or somebody else holds what is needed. Trying again may help."""


class Store:
    """The ledger's database."""

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        """Bring the tables to the newest revision. Raises `StoreFault`, `StoreAway`.

        ``read_only``: nothing is opened before it is read, nothing is made, and nothing can be written, not even
        SQLite's own checkpoint.
        """
        self._engine = _engine(url, read_only=read_only)
        self._read_only = read_only
        self._on_server = self._engine.dialect.name == "postgresql"
        if not read_only:
            try:
                self._migrate()
            except Fault:
                self.close()
                raise

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """One consistent state. Raises `StoreAway`."""
        # SQLite's readers have a snapshot anyway, and so have the sessions of who only reads.
        asked = self._on_server and not self._read_only
        snapshot = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True} if asked else {}
        with (
            _or_away(self._engine),
            self._engine.connect().execution_options(read_only=True, **snapshot) as connection,
            connection.begin(),
        ):
            yield Reader(connection)

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """One transaction: committed at the end of the block, rolled back by any exception. Raises `StoreAway`."""
        with _or_away(self._engine), self._engine.begin() as connection:
            yield Writer(connection)

    def sweep(self) -> bool:
        """Leave nothing of a destroyed key on disk; return whether that is done: a reader may be in the way for now.

        SQLite overwrites what is deleted, but the log in front of the file holds it until it is written back and cut.
        PostgreSQL's autovacuum prunes dead rows in its own time.
        """
        if self._on_server or not self._engine.url.database:
            return True
        # A connection of its own: an integrator that waited as long as a writer may would lose its lead.
        with closing(sqlite3.connect(self._engine.url.database, timeout=SWEEP_TIMEOUT_S)) as connection:
            busy: int = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        return not busy

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _migrate(self) -> None:
        url = self._engine.url
        where = f"{url.host or url.query.get('host', 'local')}/{url.database}" if self._on_server else url.database
        try:
            with self._engine.begin() as connection:
                migrations.migrate(connection)
        except revisions.NewerStore as newer:
            raise StoreFault(newer.what, where=where, hint=newer.hint) from None
        except sa.exc.SQLAlchemyError as exc:
            cause = str(exc.orig).strip().splitlines()[0] if isinstance(exc, sa.exc.DBAPIError) else type(exc).__name__
            kind = StoreAway if isinstance(exc, sa.exc.OperationalError) else StoreFault
            raise kind(f"cannot be opened: {cause}", where=where) from None


@contextmanager
def _or_away(engine: sa.Engine) -> Iterator[None]:
    """A database that is not there, is restarted, or keeps a lock; the driver's words name no row."""
    drivers_own: type[Exception] = engine.dialect.loaded_dbapi.OperationalError  # of what `bulk` does past SQLAlchemy
    try:
        yield
    except (sa.exc.OperationalError, drivers_own) as exc:
        cause = exc.orig if isinstance(exc, sa.exc.OperationalError) else exc
        raise StoreAway(f"the ledger's database did not answer ({type(cause).__name__})") from exc


def _engine(url: str, *, read_only: bool) -> sa.Engine:
    try:
        at = sa.make_url(url)
    except sa.exc.ArgumentError:  # its words would quote the URL, and a password with it
        raise StoreFault("is not a database's URL", where=VARIABLE) from None
    backend = at.get_backend_name()
    if backend == "postgresql":
        return sa.create_engine(at, connect_args=READING if read_only else SESSION)
    if backend != "sqlite":
        raise StoreFault(f"is a {backend} database, and neither sqlite nor postgresql", where=VARIABLE)
    if read_only:
        at = at.set(database=f"file:{quote(at.database or '')}", query={"mode": "ro", "uri": "true"})
    # "timeout": how long a writer waits for another.
    engine = sa.create_engine(at, connect_args={"timeout": BUSY_TIMEOUT_S})
    sa.event.listen(engine, "connect", _sqlite_connect_read_only if read_only else _sqlite_connect)
    sa.event.listen(engine, "begin", _sqlite_begin)
    return engine


def _sqlite_connect(connection: Any, _record: object) -> None:
    # The driver's own BEGIN comes too late and is never IMMEDIATE: `_sqlite_begin` says it.
    connection.isolation_level = None
    write_ahead(connection, BUSY_TIMEOUT_S)
    # A checkpoint that was published must not be lost with the power: FULL syncs the WAL at each commit.
    connection.execute("PRAGMA synchronous = FULL")
    # A destroyed key is overwritten, not just unlinked (GDPR Art. 17).
    connection.execute("PRAGMA secure_delete = ON")


def _sqlite_connect_read_only(connection: Any, _record: object) -> None:
    connection.isolation_level = None


def _sqlite_begin(connection: sa.Connection) -> None:
    reading = connection.get_execution_options().get("read_only", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
