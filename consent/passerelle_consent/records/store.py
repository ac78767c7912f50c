"""The store: short transactions, many writers' scripts in one commit, on SQLite or PostgreSQL.

A commit waits for the disk; the scripts do not. So scripts that wait together are run in one transaction, each in a
savepoint of its own, and share the wait: one refused script changes nothing and disturbs none of its neighbours.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
import structlog

from passerelle_consent.records import problems
from passerelle_consent.records.database import Database, Script, StoreFault, StoreLost, T
from passerelle_consent.records.problems import Problem

SCRIPTS_PER_COMMIT_MAX = 32
"""At most some 25 ms of work between two turns of the event loop; larger groups gain nothing more on a solid disk."""

QUEUE_MAX = 2_048
"""Scripts that wait: about a second of work. Beyond it a client hears `overloaded` at once instead of timing out."""

_log = structlog.get_logger("store")


class Store:
    """Runs scripts. `open` before use, `close` after; both are idempotent in effect."""

    def __init__(self, url: str) -> None:
        """``url`` as SQLAlchemy has it: `sqlite:///<file>` or `postgresql+psycopg://…`. Raises `StoreFault`."""
        self._database = _database(url)
        self._queue: asyncio.Queue[tuple[Script[Any], bool, asyncio.Future[Any]]] = asyncio.Queue(QUEUE_MAX)
        self._writer: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()  # a transaction that begins while the log is cut would fail

    @property
    def can_be_lost(self) -> bool:
        """Whether another process may take it while this one is stopped and knows nothing of it."""
        return self._database.can_be_lost

    async def open(self) -> None:
        """Take the store for this process, bring its tables up to date, start the writer. Raises `StoreFault`."""
        await self._database.open()
        self._writer = asyncio.create_task(self._write_batches(), name="store-writer")

    async def close(self) -> None:
        """Finish what was taken, then let go of the store."""
        if self._writer is not None:
            await self._queue.join()
            self._writer.cancel()
            await asyncio.wait([self._writer])
        await self._database.close()

    async def held(self) -> None:
        """Watch for as long as the store is this process's alone. Raises `StoreLost`: then the process must end."""
        await self._database.held()

    async def read(self, script: Script[T]) -> T:
        """Run a script that writes nothing. Raises what it raises, or `Problem` store-unavailable."""
        try:
            return await self._database.read(script)
        except sa.exc.SQLAlchemyError:
            raise Problem(problems.STORE_UNAVAILABLE) from None
        except StoreLost:
            raise Problem(problems.NOT_READY) from None

    async def write(self, script: Script[T], *, durable: bool = True) -> T:
        """Run a script; when this returns it is on disk. Raises what it raises, or `Problem`.

        Not ``durable``: it is on disk once a later script is, or in a moment. Processes that die lose nothing of it; a
        machine that loses its power may, the last first, and never a durable one. For what is done again after a
        crash anyway.

        After `Problem` not-ready nobody knows whether it is: the database went away with the answer. Nothing changed
        after any other. A caller who repeats with the same Idempotency-Key finds out.
        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait((script, durable, done))
        except asyncio.QueueFull:
            raise Problem(problems.OVERLOADED) from None
        return await done

    async def sweep(self) -> bool:
        """Leave nothing of what was deleted on disk; return whether that is done. See `Database.sweep`."""
        async with self._writing:
            return await self._database.sweep()

    async def _write_batches(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while len(batch) < SCRIPTS_PER_COMMIT_MAX and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            durable = any(d for _, d, _ in batch)
            async with self._writing:
                outcomes = await self._commit([script for script, _, _ in batch], durable=durable)
            for (_, _, done), outcome in zip(batch, outcomes, strict=True):
                _resolve(done, outcome)
                self._queue.task_done()

    async def _commit(self, scripts: Sequence[Script[Any]], *, durable: bool) -> list[Any]:
        """Run scripts in one transaction; an outcome is what each returned or the exception that it raised."""
        try:
            return await self._database.transact(scripts, durable=durable)
        except StoreLost:
            return [Problem(problems.NOT_READY) for _ in scripts]
        except Exception as exc:  # noqa: BLE001 - a full disk, a broken file: each caller hears that nothing changed
            _log.error("store refused a transaction", error=type(exc).__name__, scripts=len(scripts))
            return [Problem(problems.STORE_UNAVAILABLE) for _ in scripts]


def _resolve(done: asyncio.Future[Any], outcome: Any) -> None:
    if done.done():  # the caller went away
        return
    if isinstance(outcome, Exception):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)


def _database(url: str) -> Database:
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:  # its words would quote the URL, and a password with it
        raise StoreFault("is not a database's URL", where="PASSERELLE_CONSENT_STORE") from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        from passerelle_consent.records.sqlite import SQLite

        return SQLite(parsed)
    if backend == "postgresql":
        from passerelle_consent.records.postgresql import PostgreSQL

        return PostgreSQL(parsed)
    raise StoreFault(f"is a {backend} database, and neither sqlite nor postgresql", where="PASSERELLE_CONSENT_STORE")
