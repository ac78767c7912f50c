"""PostgreSQL: the store of a city in production (decision record `0002-sole-use-on-postgresql.md`).

One session writes, and that session holds the advisory lock by which a process has the store. Whoever writes has the
lock, then: when the session ends, its open transaction is undone before the lock is free for another process. So no
two processes' transactions overlap, and outbox ids are in the order of commits, as on SQLite.

Statements wait for the network, so they run in threads: one for the session that writes, a few for those that read.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import sqlalchemy as sa
import structlog

from passerelle_consent.records.database import (
    Script,
    StoreFault,
    StoreLost,
    T,
    cannot_open,
    migrate,
    outcomes,
)

READERS = 4
"""Sessions that read at once. A read is three look-ups by key; four keep a core of the server busy."""

ATTEMPTS = 3
"""Of a transaction that met an operator's or a report's locks the wrong way round. Our own never meet each other."""

AGAIN = frozenset({"40001", "40P01", "55P03"})
"""SQLSTATE: serialization_failure, deadlock_detected, lock_not_available. The next attempt may pass."""

WATCH_S = 1.0
"""How often a session that rests is asked whether it is still there."""

SESSION = {
    "connect_timeout": "5",
    # Some 15 s after the network or the server's host is gone, the session is known to be lost; the server, asked to
    # watch in the same way, then frees the lock for whoever takes over.
    "keepalives_idle": "5",
    "keepalives_interval": "5",
    "keepalives_count": "2",
    "tcp_user_timeout": "15000",
    "options": "-c lock_timeout=500 -c statement_timeout=10000 -c synchronous_commit=on -c timezone=UTC"
    " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=2",
    "application_name": "passerelle-consent",
}
"""`lock_timeout`: requests wait with us for a lock that an operator holds, so it is short, as `sqlite.BUSY_MS`."""

READING = {
    **SESSION,
    "options": rf"{SESSION['options']} -c default_transaction_isolation=repeatable\ read"
    " -c default_transaction_read_only=on",
}
"""Of the sessions that only read: set once for each of them, and not for each read."""

TAKE = sa.text("SELECT pg_try_advisory_lock(hashtextextended('passerelle-consent/' || current_schema(), 0))")
GIVE_BACK = sa.text("SELECT pg_advisory_unlock_all()")
NOT_YET_ON_DISK = sa.text("SET LOCAL synchronous_commit TO off")
PING = sa.text("SELECT 1")

_log = structlog.get_logger("store")


class PostgreSQL:
    """A `Database` on a server, reached without a pooler that shares sessions between transactions."""

    def __init__(self, url: sa.URL) -> None:
        self._where = f"{url.host or 'local'}/{url.database}"
        self._engine = sa.create_engine(url, connect_args=SESSION, pool_size=1, max_overflow=0)
        self._reading = sa.create_engine(url, connect_args=READING, pool_size=READERS, max_overflow=0)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="store-read")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store-write")
        self._session: sa.Connection | None = None

    can_be_lost = True

    async def open(self) -> None:
        """Take the database, and bring its tables to the newest revision. Raises `StoreFault`."""
        try:
            await self._on(self._writer, self._take)
        except StoreFault:
            await self.close()
            raise

    async def close(self) -> None:
        """End every session; the lock goes with the one that writes."""
        self._writer.shutdown()
        self._readers.shutdown()
        self._leave()
        self._engine.dispose()
        self._reading.dispose()

    async def read(self, script: Script[T]) -> T:
        """Run a script that writes nothing, on one snapshot."""
        return await self._on(self._readers, lambda: self._read(script))

    async def transact(self, scripts: Sequence[Script[Any]], *, durable: bool) -> list[Any]:
        """Run scripts and commit, again when they met somebody else's locks. Raises `StoreLost`."""
        return await self._on(self._writer, lambda: self._transact(scripts, durable=durable))

    async def sweep(self) -> bool:
        """Nothing: autovacuum prunes dead rows in its own time (decision record 0003 says what to set)."""
        return True

    async def held(self) -> None:
        """Ask the session from time to time. Raises `StoreLost`."""
        while True:
            await asyncio.sleep(WATCH_S)
            await self._on(self._writer, self._ping)

    async def _on(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(threads, work)

    def _read(self, script: Script[T]) -> T:
        self._held()  # what is read after a loss may be another process's to send
        with self._reading.connect() as conn:
            return script(conn)

    def _take(self) -> None:
        try:
            self._session = self._engine.connect()
            taken = self._session.execute(TAKE).scalar_one()
            self._session.commit()
        except sa.exc.SQLAlchemyError as exc:
            raise cannot_open(exc, self._where) from None
        if not taken:
            raise StoreFault("another process serves this store", where=self._where, hint="stop that one first")
        migrate(self._session, self._where)

    def _leave(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            # The server notices the end of a session in its own time: whoever comes at once would be refused.
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                if not session.invalidated:
                    session.execute(GIVE_BACK)
            session.invalidate()  # ended, not given back: a session at rest in a pool would keep the lock
            session.close()

    def _transact(self, scripts: Sequence[Script[Any]], *, durable: bool) -> list[Any]:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._attempt(scripts, durable=durable)
            except sa.exc.DBAPIError as exc:
                state = getattr(exc.orig, "sqlstate", None)
                if state not in AGAIN or attempt == ATTEMPTS:
                    raise
                _log.warning("transaction repeated", sqlstate=state, attempt=attempt)
        raise AssertionError  # the last attempt returns or raises

    def _attempt(self, scripts: Sequence[Script[Any]], *, durable: bool) -> list[Any]:
        session = self._held()
        try:
            if not durable:
                session.execute(NOT_YET_ON_DISK)
            done = outcomes(session, scripts)
            session.commit()
        except sa.exc.SQLAlchemyError:
            self._undo(session)
            self._held()
            raise
        return done

    def _ping(self) -> None:
        session = self._held()
        try:
            session.execute(PING)
        except sa.exc.SQLAlchemyError:
            self._undo(session)
        else:
            session.rollback()
        self._held()

    def _held(self) -> sa.Connection:
        if self._session is None:
            raise StoreLost("the store is lost: its session ended", where=self._where)
        return self._session

    def _undo(self, session: sa.Connection) -> None:
        """Roll back. A session that cannot is gone, and the lock with it: it must not be opened anew in silence."""
        try:
            if not session.invalidated:
                session.rollback()
                return
        except sa.exc.SQLAlchemyError:
            pass
        self._leave()
