"""A recipient's SQLite file. Statements run on the event loop: each is far below a millisecond of work."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from passerelle.receive.positions import DatabaseFault, DatabaseLost, Rows

BUSY_S = 5.0
"""How long another process's write is waited for."""

PASSING = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL})
"""Result codes after which the same may go through."""

_PRIMARY = 0xFF
"""Extended result codes keep the primary one in their lowest byte (SQLite, "Result and Error Codes")."""


class SQLite:
    """A `Database`. A handler gets the connection within its transaction, and neither commits nor rolls back."""

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        self._uri = f"{path.absolute().as_uri()}?mode=rw"
        self._connection: sqlite3.Connection | None = None
        self._turn = asyncio.Lock()

    async def close(self) -> None:
        """Close the file; what is open is undone."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[sqlite3.Connection]:
        """See `Database`. It has the file to write from its beginning, so two readers come one after the other."""
        try:
            async with self._turn:
                connection = self._open()
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                except BaseException:
                    connection.rollback()
                    raise
                if not connection.in_transaction:
                    raise DatabaseFault("a handler ended the transaction that was lent to it", where=self.where)
                connection.execute("COMMIT")
        except sqlite3.Error as exc:
            if not _passing(exc):
                raise
            await self.close()
            raise DatabaseLost(f"the file cannot be written ({type(exc).__name__})", where=self.where) from None

    async def run(self, transaction: sqlite3.Connection, statement: str, values: Mapping[str, Any]) -> Rows:
        """See `Database`."""
        try:
            return transaction.execute(statement, values).fetchall()
        except sqlite3.Error as exc:
            if _passing(exc):
                raise
            hint = "has it the tables? passerelle inbox table ddl --sqlite"
            raise DatabaseFault(
                f"the file cannot be used ({type(exc).__name__})", where=self.where, hint=hint
            ) from None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            try:
                self._connection = sqlite3.connect(self._uri, uri=True, isolation_level=None, timeout=BUSY_S)
                self._connection.execute("PRAGMA foreign_keys = ON")
            except sqlite3.Error:
                hint = "make it: passerelle inbox table ddl --sqlite | sqlite3 <file>"
                raise DatabaseFault("there is no such database", where=self.where, hint=hint) from None
        return self._connection


def _passing(exc: sqlite3.Error) -> bool:
    return (getattr(exc, "sqlite_errorcode", 0) & _PRIMARY) in PASSING
