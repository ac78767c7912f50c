"""What the store asks of a database, and what SQLite and PostgreSQL have in common."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa

from passerelle_consent import revisions
from passerelle_consent.records import migrations
from passerelle_schemas.faults import Fault

T = TypeVar("T")
Script = Callable[[sa.Connection], T]


class StoreFault(Fault):
    """The store cannot be opened."""


class StoreLost(Fault):
    """The store is no longer this process's alone: only a new process may go on."""

    exit_code = 75


class Database(Protocol):
    """One process has it at a time, from `open` on. Used from the event loop."""

    @property
    def can_be_lost(self) -> bool:
        """Whether another process may take it while this one is stopped and knows nothing of it."""
        ...

    async def open(self) -> None:
        """Take it for this process and bring its tables to the newest revision. Raises `StoreFault`."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...

    async def read(self, script: Script[T]) -> T:
        """Run a script that writes nothing, on one state of the data. Raises what it raises, `SQLAlchemyError`."""
        ...

    async def transact(self, scripts: Sequence[Script[Any]], *, durable: bool) -> list[Any]:
        """Run scripts in one transaction, as `outcomes`. Raises `SQLAlchemyError`, `StoreLost`.

        If ``durable``, it is on disk when this returns; else once a later one is, or in a moment.
        """
        ...

    async def sweep(self) -> bool:
        """Leave nothing on disk of what was deleted, as far as that is ours to do; return whether it is done."""
        ...

    async def held(self) -> None:
        """Watch for as long as this process has the database. Raises `StoreLost`."""
        ...


def outcomes(conn: sa.Connection, scripts: Sequence[Script[Any]]) -> list[Any]:
    """Run each script in a savepoint; an outcome is what it returned, or the exception that it raised.

    Raises `OperationalError` (disk full, lock not given): then the neighbours' work is lost as well.
    """
    # One alone has no neighbours to spare: its savepoint is the transaction, and two statements less are made.
    apart = conn.begin_nested if len(scripts) > 1 else partial(_all_or_nothing, conn)
    return [_outcome(conn, script, apart) for script in scripts]


@contextmanager
def _all_or_nothing(conn: sa.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        conn.rollback()
        raise


def _outcome(conn: sa.Connection, script: Script[Any], apart: Callable[[], AbstractContextManager[Any]]) -> Any:
    try:
        with apart():
            return script(conn)
    except sa.exc.OperationalError:
        raise
    except Exception as exc:  # noqa: BLE001 - it is the caller's, who awaits it
        return exc


def migrate(conn: sa.Connection, where: str | None) -> None:
    """Bring the tables to the newest revision and commit. Raises `StoreFault`."""
    try:
        migrations.migrate(conn)
        conn.commit()
    except revisions.NewerStore as newer:
        raise StoreFault(newer.what, where=where, hint=newer.hint) from None
    except sa.exc.SQLAlchemyError as exc:
        raise cannot_open(exc, where) from None


def cannot_open(exc: sa.exc.SQLAlchemyError, where: str | None) -> StoreFault:
    """Return the fault in the database's own words."""
    cause = str(exc.orig).strip().splitlines()[0] if isinstance(exc, sa.exc.DBAPIError) else type(exc).__name__
    return StoreFault(f"cannot be opened: {cause}", where=where)
