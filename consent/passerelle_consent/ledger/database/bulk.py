"""What is written or read by the thousand, in each driver's own way: SQLAlchemy's would cost more than the rest.

PostgreSQL takes rows by COPY in its binary format ("COPY", "Binary Format" of its manual): no statement is parsed and
no value is quoted. SQLite is in this process, and takes the tuples as they are.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import sqlalchemy as sa

from passerelle_consent.ledger.log.commitments import HANDLE_BYTES
from passerelle_consent.ledger.log.entries import ID_BYTES
from passerelle_consent.ledger.sealing.vault import SealedEntry, WrappedKey

IN_MAX = 900
"""Values of one IN (…): SQLite's older default allows 999 variables."""


class Bulk(Protocol):
    """A connection's way with many rows."""

    def add_entries(self, start: int, entries: Sequence[SealedEntry]) -> None:
        """Append entries at ``start``, with their private parts."""

    def add_keys(self, keys: Mapping[bytes, WrappedKey]) -> None:
        """Store new subject keys."""

    def subject_keys(self, subjects: Sequence[bytes]) -> Iterator[tuple[bytes, WrappedKey]]:
        """Yield the stored keys of those subjects that have one."""

    def tile(self, level: int, index: int) -> bytes:
        """Hashes of a tile, empty when there is none. A proof reads some eight."""


def bulk_of(db: sa.Connection) -> Bulk:
    """Choose by the connection's database."""
    return _PostgreSQL(db) if db.dialect.name == "postgresql" else _SQLite(db)


class _SQLite:
    def __init__(self, db: sa.Connection) -> None:
        self._db = db

    def add_entries(self, start: int, entries: Sequence[SealedEntry]) -> None:
        numbered = list(enumerate(entries, start))
        rows = [(i, e.ident, e.body) for i, e in numbered]
        parts = [(i, e.sealed, e.handle) for i, e in numbered if e.sealed]
        self._many("INSERT INTO entries (idx, ident, body) VALUES (?, ?, ?)", rows)
        self._many("INSERT INTO private_parts (idx, sealed, handle) VALUES (?, ?, ?)", parts)

    def add_keys(self, keys: Mapping[bytes, WrappedKey]) -> None:
        rows = [(subject, key.master, key.wrapped) for subject, key in keys.items()]
        self._many("INSERT INTO subject_keys (subject, master, wrapped) VALUES (?, ?, ?)", rows)

    def subject_keys(self, subjects: Sequence[bytes]) -> Iterator[tuple[bytes, WrappedKey]]:
        for at in range(0, len(subjects), IN_MAX):
            some = tuple(subjects[at : at + IN_MAX])
            places = ", ".join("?" * len(some))
            read = "SELECT subject, master, wrapped FROM subject_keys"
            yield from _keys(self._db.exec_driver_sql(f"{read} WHERE subject IN ({places})", some))

    def tile(self, level: int, index: int) -> bytes:
        driver: Any = self._db.connection.driver_connection
        found = driver.execute("SELECT hashes FROM tiles WHERE level = ? AND idx = ?", (level, index)).fetchone()
        return found[0] if found else b""

    def _many(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        if rows:
            self._db.exec_driver_sql(statement, rows)


class _PostgreSQL:
    def __init__(self, db: sa.Connection) -> None:
        self._db = db

    def add_entries(self, start: int, entries: Sequence[SealedEntry]) -> None:
        rows: list[bytes] = []
        parts: list[bytes] = []
        for index, (ident, body, sealed, handle) in enumerate(entries, start):
            rows += _ENTRY(3, 8, index, ID_BYTES, ident, len(body)), body
            if sealed and handle:
                parts += _PRIVATE(3, 8, index, len(sealed)), sealed, _HANDLE, handle
        self._copy("entries (idx, ident, body)", rows)
        self._copy("private_parts (idx, sealed, handle)", parts)

    def add_keys(self, keys: Mapping[bytes, WrappedKey]) -> None:
        rows = (_row(subject, key.master.encode(), key.wrapped) for subject, key in keys.items())
        self._copy("subject_keys (subject, master, wrapped)", rows)

    def subject_keys(self, subjects: Sequence[bytes]) -> Iterator[tuple[bytes, WrappedKey]]:
        if subjects:
            read = "SELECT subject, master, wrapped FROM subject_keys WHERE subject = ANY(%s)"
            yield from _keys(self._db.exec_driver_sql(read, (list(subjects),)))

    def tile(self, level: int, index: int) -> bytes:
        driver: Any = self._db.connection.driver_connection
        read = "SELECT hashes FROM tiles WHERE level = %s AND idx = %s"
        found = driver.execute(read, (level, index), prepare=True, binary=True).fetchone()
        return found[0] if found else b""

    def _copy(self, table: str, rows: Iterable[bytes]) -> None:
        driver: Any = self._db.connection.driver_connection
        with driver.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(_COPY_HEADER + b"".join(rows) + _COPY_TRAILER)


_COPY_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_COPY_TRAILER = struct.pack(">h", -1)
_ROW = struct.Struct(">hi").pack
_LENGTH = struct.Struct(">i").pack
# A row is the number of its fields, and each of them after its length; an index is a bigint.
_ENTRY = struct.Struct(f">hiqi{ID_BYTES}si").pack
_PRIVATE = struct.Struct(">hiqi").pack
_HANDLE = _LENGTH(HANDLE_BYTES)


def _row(first: bytes, second: bytes, third: bytes) -> bytes:
    """Three fields, each after its length."""
    return b"".join((_ROW(3, len(first)), first, _LENGTH(len(second)), second, _LENGTH(len(third)), third))


def _keys(rows: Iterable[Any]) -> Iterator[tuple[bytes, WrappedKey]]:
    for subject, master, wrapped in rows:
        yield bytes(subject), WrappedKey(master=master, wrapped=bytes(wrapped))
