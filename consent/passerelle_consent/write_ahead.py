"""SQLite's write-ahead log, for files that several processes open at once."""

import sqlite3
import time

_RETRY_S = 0.01


def write_ahead(connection: sqlite3.Connection, wait_s: float) -> None:
    """Set the file's journal mode to WAL; wait at most ``wait_s`` seconds for others that have it open.

    SQLite's busy handler is not called for this switch, so of many that begin a file together all but one would be
    refused at once. Raises `sqlite3.OperationalError` after that time.
    """
    until = time.monotonic() + wait_s
    while not _switched(connection, last=time.monotonic() > until):
        time.sleep(_RETRY_S)


def _switched(connection: sqlite3.Connection, *, last: bool) -> bool:
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as exc:
        if last or exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        return False
    return True
