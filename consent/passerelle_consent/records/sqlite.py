"""SQLite, embedded: the store of a city that has no database server, and of every demonstration.

The scripts run on the event loop, since each is below a millisecond of work on pages that SQLite holds, and a thread's
hand-overs would cost more; only the commit, which waits for the disk, goes to a thread.
"""

import asyncio
import fcntl
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from passerelle_consent.records.database import Script, StoreFault, T, cannot_open, migrate, outcomes

BUSY_MS = 500
"""How long SQLite waits for another process's lock (an operator with a shell on the file) before it gives up. Requests
wait with it, so it is short: they are told to come again."""


class SQLite:
    """A `Database` in one file."""

    def __init__(self, url: sa.URL) -> None:
        if url.database in (None, "", ":memory:"):
            raise StoreFault("the URL names no file", where="sqlite")
        self._engine = sa.create_engine(url)
        sa.event.listen(self._engine, "connect", _tune)
        sa.event.listen(self._engine, "begin", _begin)
        self._lock = _SoleUse(Path(f"{url.database}.lock"))
        self._writing: sa.Connection | None = None
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-commit")

    can_be_lost = False

    async def open(self) -> None:
        """Take the file, and bring its tables to the newest revision. Raises `StoreFault`."""
        self._lock.take()
        where = self._engine.url.database
        try:
            self._writing = self._engine.connect()
            migrate(self._writing, where)
        except sa.exc.SQLAlchemyError as exc:
            raise cannot_open(exc, where) from None

    async def close(self) -> None:
        """Let go of the file."""
        self._disk.shutdown()
        if self._writing is not None:
            self._writing.close()
        self._engine.dispose()
        self._lock.release()

    async def read(self, script: Script[T]) -> T:
        """Run a script that writes nothing."""
        with self._engine.connect() as conn:
            return script(conn)

    async def transact(self, scripts: Sequence[Script[Any]], *, durable: bool) -> list[Any]:
        """Run scripts, then wait for the disk if it must be."""
        assert self._writing is not None  # noqa: S101 - `open` came first
        conn = self._writing
        try:
            # Before the transaction begins; in WAL mode NORMAL writes the log as FULL does and waits for no disk.
            _raw(conn).execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            done = outcomes(conn, scripts)
            if durable:
                await asyncio.get_running_loop().run_in_executor(self._disk, conn.commit)
            else:
                conn.commit()
        except BaseException:
            conn.rollback()
            raise
        return done

    async def sweep(self) -> bool:
        """Write the log in front of the file back, and cut it: it holds what the file holds no more.

        Returns whether that is done; a reader may be in the way for now.
        """
        return await asyncio.get_running_loop().run_in_executor(self._disk, self._cut_log)

    def _cut_log(self) -> bool:
        connection = self._engine.raw_connection()
        try:
            busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        finally:
            connection.close()
        return not busy

    async def held(self) -> None:
        """Wait for ever: the lock goes with the process."""
        await asyncio.get_running_loop().create_future()


def _raw(conn: sa.Connection) -> Any:
    return conn.connection.driver_connection


def _tune(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy says BEGIN and SAVEPOINT, not the driver
    # What is deleted is overwritten, not just unlinked (GDPR Art. 17).
    settings = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON")
    for pragma in (*settings, f"busy_timeout={BUSY_MS}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")


class _SoleUse:
    """A lock of the operating system on `<store>.lock`: one process serves one SQLite store.

    A lease that ends by the clock would let a process that was stopped and continued send old standings after a new
    one took over. This lock is held as long as the process lives, stopped or not, and goes with it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def take(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise StoreFault(
                "another process serves this store", where=str(self._path), hint="stop that one first"
            ) from None
        except OSError as exc:
            raise StoreFault(f"cannot be opened: {exc.strerror}", where=str(self._path)) from None

    def release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
