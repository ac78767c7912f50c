"""The store: short transactions, many writers' scripts in one commit.

A commit with ``synchronous=FULL`` waits for the disk; the scripts do not. So scripts that wait together are run in one
transaction, each in a savepoint of its own, and share the wait: one refused script changes nothing and disturbs none
of its neighbours.

The scripts run on the event loop, since each is below a millisecond of work on pages that SQLite holds, and a thread's
hand-overs would cost more; only the commit goes to a thread. (A database across a network wants threads for both:
then this module is where they go.)
"""

import asyncio
import fcntl
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog

from passerelle_consent.records import problems, sql
from passerelle_consent.records.problems import Problem
from passerelle_schemas.faults import Fault

T = TypeVar("T")
Script = Callable[[sa.Connection], T]

SCRIPTS_PER_COMMIT_MAX = 32
"""At most some 25 ms of work between two turns of the event loop; larger groups gain nothing more on a solid disk."""

QUEUE_MAX = 2_048
"""Scripts that wait: about a second of work. Beyond it a client hears `overloaded` at once instead of timing out."""

BUSY_MS = 500
"""How long SQLite waits for another process's lock (an operator with a shell on the file) before it gives up. Requests
wait with it, so it is short: they are told to come again."""

_log = structlog.get_logger("store")


class StoreFault(Fault):
    """The store cannot be opened."""


class Store:
    """Runs scripts. `open` before use, `close` after; both are idempotent in effect."""

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self._lock = _SoleUse(self._engine.url)
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-commit")
        self._queue: asyncio.Queue[tuple[Script[Any], asyncio.Future[Any]]] = asyncio.Queue(QUEUE_MAX)
        self._writer: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Take the store for this process, make missing tables, start the writer. Raises `StoreFault`."""
        self._lock.take()
        try:
            sql.metadata.create_all(self._engine)
        except sa.exc.SQLAlchemyError as exc:
            raise StoreFault(f"cannot be opened: {_cause(exc)}", where=self._engine.url.database) from None
        self._writer = asyncio.create_task(self._write_batches(), name="store-writer")

    async def close(self) -> None:
        """Finish what was taken, then let go of the store."""
        if self._writer is not None:
            await self._queue.join()
            self._writer.cancel()
            await asyncio.wait([self._writer])
        self._disk.shutdown()
        self._engine.dispose()
        self._lock.release()

    async def read(self, script: Script[T]) -> T:
        """Run a script that writes nothing. Raises what it raises, or `Problem` store-unavailable."""
        try:
            with self._engine.connect() as conn:
                return script(conn)
        except sa.exc.SQLAlchemyError:
            raise Problem(problems.STORE_UNAVAILABLE) from None

    async def write(self, script: Script[T]) -> T:
        """Run a script; when this returns it is on disk. Raises what it raises, or `Problem` (nothing changed)."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait((script, done))
        except asyncio.QueueFull:
            raise Problem(problems.OVERLOADED) from None
        return await done

    async def _write_batches(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while len(batch) < SCRIPTS_PER_COMMIT_MAX and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            outcomes = await self._commit([script for script, _ in batch])
            for (_, done), outcome in zip(batch, outcomes, strict=True):
                _resolve(done, outcome)
                self._queue.task_done()

    async def _commit(self, scripts: Sequence[Script[Any]]) -> list[Any]:
        """Run scripts in one transaction; an outcome is what each returned or the exception that it raised."""
        try:
            with self._engine.connect() as conn:
                outcomes = [_run(conn, script) for script in scripts]
                await asyncio.get_running_loop().run_in_executor(self._disk, conn.commit)
                return outcomes
        except Exception as exc:  # noqa: BLE001 - a full disk, a broken file: each caller hears that nothing changed
            _log.error("store refused a transaction", error=type(exc).__name__, scripts=len(scripts))
            return [Problem(problems.STORE_UNAVAILABLE) for _ in scripts]


def _run(conn: sa.Connection, script: Script[Any]) -> Any:
    try:
        with conn.begin_nested():
            return script(conn)
    except sa.exc.OperationalError:  # disk full, file gone: the neighbours' work is lost as well
        raise
    except Exception as exc:  # noqa: BLE001 - it is the caller's, who awaits it
        return exc


def _resolve(done: asyncio.Future[Any], outcome: Any) -> None:
    if done.done():  # the caller went away
        return
    if isinstance(outcome, Exception):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)


def _engine(url: str) -> sa.Engine:
    engine = sa.create_engine(url)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _tune_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _tune_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy says BEGIN and SAVEPOINT, not the driver
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_MS}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _cause(exc: sa.exc.SQLAlchemyError) -> str:
    return str(exc.orig) if isinstance(exc, sa.exc.DBAPIError) else type(exc).__name__


class _SoleUse:
    """A lock of the operating system on `<store>.lock`: one process serves one SQLite store.

    A lease that ends by the clock would let a process that was stopped and continued send old standings after a new
    one took over. This lock is held as long as the process lives, stopped or not, and goes with it.
    """

    def __init__(self, url: sa.URL) -> None:
        on_disk = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
        self._path = Path(f"{url.database}.lock") if on_disk else None
        self._fd: int | None = None

    def take(self) -> None:
        if self._path is None:
            return
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
