"""A recipient's PostgreSQL: one session, one transaction at a time."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from passerelle.receive.positions import DatabaseFault, DatabaseLost, Rows, pyformat

CONNECT_S_MAX = 5
LOCK_MS_MAX = 30_000
"""Another reader's transaction is waited for so long; then this one is undone and begins again."""

PASSING = ("08", "40", "53", "57", "55P03")
"""SQLSTATEs after which the same may go through: connections, serialization and deadlocks, resources, an operator's
doing, locks (PostgreSQL, Appendix A)."""

Transaction = psycopg.AsyncConnection[tuple[Any, ...]]


class PostgreSQL:
    """A `Database`. A handler gets the session within its transaction, and neither commits nor rolls back."""

    def __init__(self, database: str) -> None:
        """``database``: `postgresql://<user>@<host>/<database>`; the password in PGPASSFILE."""
        self._database = database.replace("postgresql+psycopg://", "postgresql://", 1)
        self._session: Transaction | None = None
        self._turn = asyncio.Lock()

    async def close(self) -> None:
        """End the session; what is open in it is undone."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """See `Database`. What else a handler's statement raises leaves as it is."""
        try:
            async with self._turn:
                session = await self._open()
                async with session.transaction():
                    yield session
        except psycopg.Error as exc:
            if not _passing(exc):
                raise
            await self.close()
            raise DatabaseLost(f"the database does not answer ({type(exc).__name__})", where=self.where) from None

    async def run(self, transaction: Transaction, statement: str, values: Mapping[str, Any]) -> Rows:
        """See `Database`. Names the class of an error alone, since a message may quote a row."""
        try:
            found = await transaction.execute(pyformat(statement), values)
            return await found.fetchall() if found.description else ()
        except psycopg.errors.UndefinedTable:
            hint = "make it: passerelle inbox table ddl"
            raise DatabaseFault("a table of the inbox is missing", where=self.where, hint=hint) from None
        except psycopg.errors.InsufficientPrivilege:
            hint = "which rights it needs: passerelle inbox table ddl"
            raise DatabaseFault("this role may not do that", where=self.where, hint=hint) from None
        except psycopg.Error as exc:
            if _passing(exc):
                raise
            raise DatabaseFault(f"the database says no ({type(exc).__name__})", where=self.where) from None

    @property
    def where(self) -> str:
        """Host and database, never the password."""
        try:
            parts = psycopg.conninfo.conninfo_to_dict(self._database)
        except psycopg.Error:
            return "the database"
        return f"{parts.get('host', 'local')}/{parts.get('dbname', '')}"

    async def _open(self) -> Transaction:
        if self._session is None or self._session.closed:
            try:
                psycopg.conninfo.conninfo_to_dict(self._database)
            except psycopg.Error:
                raise DatabaseFault("the address of the database cannot be read", hint="postgresql://…") from None
            self._session = await psycopg.AsyncConnection.connect(
                self._database,
                autocommit=True,
                connect_timeout=CONNECT_S_MAX,
                options=f"-c lock_timeout={LOCK_MS_MAX}",
                application_name="passerelle-inbox",
            )
        return self._session


def _passing(exc: psycopg.Error) -> bool:
    if exc.sqlstate is None:
        return isinstance(exc, psycopg.OperationalError)
    return exc.sqlstate.startswith(PASSING)
