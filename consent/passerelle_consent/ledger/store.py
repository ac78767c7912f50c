"""All SQL of the ledger. SQLite (WAL) embedded, PostgreSQL in production; statements that both understand.

The database is the source of the log: entries, tiles, offsets, keys and checkpoints change together, in one
transaction that also shows that its writer still leads.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from passerelle_consent.ledger.checkpoint import Checkpoint
from passerelle_consent.ledger.vault import SealedEntry, WrappedKey
from passerelle_schemas.faults import Fault

BUSY_TIMEOUT_S = 10
"""How long SQLite waits for another writer; only a second integrator that asks to lead, or an eraser, writes."""

SWEEP_TIMEOUT_S = 0.2
"""How long a sweep waits for readers. It is tried again with the next step."""

IN_MAX = 900
"""Values of one IN (…): SQLite's older default allows 999 variables."""

_metadata = sa.MetaData()
_entries = sa.Table(
    "entries",
    _metadata,
    sa.Column("idx", sa.BigInteger, primary_key=True, autoincrement=False),
    # Not unique: a decision that the gate recorded twice is evidence, and `verify` names it.
    sa.Column("ident", sa.LargeBinary(16), nullable=False, index=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
_private_parts = sa.Table(
    "private_parts",
    _metadata,
    sa.Column("idx", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    # Of its subject's key (`commitments.handle`); none once that key is destroyed.
    sa.Column("handle", sa.LargeBinary(16)),
    sa.Index("private_parts_by_subject", "handle", "idx"),
)
_tiles = sa.Table(
    "tiles",
    _metadata,
    sa.Column("level", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("idx", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hashes", sa.LargeBinary, nullable=False),
)
_positions = sa.Table(
    "positions",
    _metadata,
    sa.Column("topic", sa.Text, primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("next_offset", sa.BigInteger, nullable=False),
)
_subject_keys = sa.Table(
    "subject_keys",
    _metadata,
    sa.Column("subject", sa.LargeBinary(16), primary_key=True),
    sa.Column("master", sa.Text, nullable=False),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
)
_checkpoints = sa.Table(
    "checkpoints",
    _metadata,
    sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("root", sa.LargeBinary(32), nullable=False),
    sa.Column("note", sa.LargeBinary, nullable=False),
    sa.Column("signed_ms", sa.BigInteger, nullable=False),
)
_leader = sa.Table(
    "leader",
    _metadata,
    sa.Column("one", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("term", sa.BigInteger, nullable=False),
    sa.Column("until_ms", sa.BigInteger, nullable=False),
)


# Built once: a replay asks it for every subject of a city.
_LISTED = (
    sa.select(_private_parts.c.idx, _entries.c.body, _private_parts.c.sealed)
    .join_from(_private_parts, _entries, _entries.c.idx == _private_parts.c.idx)
    .where(
        _private_parts.c.handle == sa.bindparam("handle"),
        _private_parts.c.idx >= sa.bindparam("start"),
        _private_parts.c.idx < sa.bindparam("end"),
    )
    .order_by(_private_parts.c.idx.desc())
    .limit(sa.bindparam("count"))
)


class NotLeader(Fault):
    """Another integrator leads, or has led since: nothing of this transaction stays."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """The right to integrate. ``term`` grows at each change of hands and fences whoever held it before."""

    holder: str
    term: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """The last signed checkpoint and its note."""

    checkpoint: Checkpoint
    note: bytes


class Reader:
    """Reads within one transaction: one consistent state."""

    def __init__(self, connection: sa.Connection) -> None:
        self._db = connection

    def head(self) -> Head | None:
        """Return the last checkpoint, None for a log that was never begun."""
        row = self._db.execute(sa.select(_checkpoints).order_by(_checkpoints.c.size.desc()).limit(1)).first()
        if row is None:
            return None
        return Head(checkpoint=Checkpoint(origin=row.origin, size=row.size, root=row.root), note=row.note)

    def tile(self, level: int, index: int) -> bytes:
        """Hashes of a tile, empty when there is none."""
        where = (_tiles.c.level == level) & (_tiles.c.idx == index)
        return self._db.scalar(sa.select(_tiles.c.hashes).where(where)) or b""

    def bodies(self, start: int, end: int) -> list[bytes]:
        """Entries ``[start, end)`` in order."""
        where = (_entries.c.idx >= start) & (_entries.c.idx < end)
        return list(self._db.scalars(sa.select(_entries.c.body).where(where).order_by(_entries.c.idx)))

    def sealed(self, index: int) -> bytes | None:
        """Private part of one entry."""
        return self._db.scalar(sa.select(_private_parts.c.sealed).where(_private_parts.c.idx == index))

    def known(self, idents: Iterable[bytes]) -> set[bytes]:
        """Those of ``idents`` that already have an entry."""
        found: set[bytes] = set()
        for some in _slices(list(idents)):
            found.update(self._db.scalars(sa.select(_entries.c.ident).where(_entries.c.ident.in_(some))))
        return found

    def subject_keys(self, subjects: Iterable[bytes]) -> dict[bytes, WrappedKey]:
        """Return the stored keys of those subjects that have one."""
        found = {}
        for some in _slices(list(subjects)):
            for row in self._db.execute(sa.select(_subject_keys).where(_subject_keys.c.subject.in_(some))):
                found[row.subject] = WrappedKey(master=row.master, wrapped=row.wrapped)
        return found

    def subjects(self, after: bytes, count: int) -> list[tuple[bytes, WrappedKey]]:
        """Return the next subjects by ref, with their keys."""
        rows = self._db.execute(
            sa.select(_subject_keys)
            .where(_subject_keys.c.subject > after)
            .order_by(_subject_keys.c.subject)
            .limit(count)
        )
        return [(row.subject, WrappedKey(master=row.master, wrapped=row.wrapped)) for row in rows]

    def listed(self, handle: bytes, *, start: int = 0, end: int, count: int) -> list[tuple[int, bytes, bytes]]:
        """Return (index, entry, private part) of entries under a handle in ``[start, end)``, the newest first."""
        rows = self._db.execute(_LISTED, {"handle": handle, "start": start, "end": end, "count": count})
        return [(row.idx, row.body, row.sealed) for row in rows]

    def place(self, handle: bytes, ident: bytes) -> int | None:
        """Return the index of the entry with this id, when it stands under the handle."""
        e, p = _entries.c, _private_parts.c
        joined = sa.select(e.idx).join_from(_entries, _private_parts, e.idx == p.idx)
        return self._db.scalar(joined.where(e.ident == ident, p.handle == handle).order_by(e.idx).limit(1))

    def unlisted(self, start: int, end: int) -> list[bytes]:
        """Return the entries in ``[start, end)`` that stand under no handle: about nobody, or about nobody any more."""
        e, p = _entries.c, _private_parts.c
        rows = (
            sa.select(e.body)
            .join_from(_entries, _private_parts, e.idx == p.idx, isouter=True)
            .where(e.idx >= start, e.idx < end, p.handle.is_(None))
            .order_by(e.idx)
        )
        return list(self._db.scalars(rows))

    def size_at(self, signed_ms: int) -> int:
        """Return the size of the last checkpoint signed by then: whatever came later stands behind it."""
        last = sa.select(sa.func.max(_checkpoints.c.size)).where(_checkpoints.c.signed_ms <= signed_ms)
        return self._db.scalar(last) or 0

    def positions(self, topic: str) -> dict[int, int]:
        """Partition → the next offset to integrate."""
        rows = self._db.execute(sa.select(_positions).where(_positions.c.topic == topic))
        return {row.partition: row.next_offset for row in rows}


class Writer(Reader):
    """Writes within one transaction; commits all or nothing."""

    def add_entries(self, start: int, entries: Sequence[SealedEntry]) -> None:
        """Append entries at ``start``, with their private parts."""
        numbered = list(enumerate(entries, start))
        self._insert(_entries, [{"idx": i, "ident": e.ident, "body": e.body} for i, e in numbered])
        parts = [{"idx": i, "sealed": e.sealed, "handle": e.handle} for i, e in numbered if e.sealed]
        self._insert(_private_parts, parts)

    def put_tiles(self, changed: Mapping[tuple[int, int], bytes]) -> None:
        """Write tiles that are new or have grown."""
        rows = [{"level": level, "idx": index, "hashes": hashes} for (level, index), hashes in changed.items()]
        self._upsert(_tiles, rows)

    def put_positions(self, topic: str, positions: Mapping[int, int]) -> None:
        """Write the next offsets."""
        self._upsert(_positions, [{"topic": topic, "partition": p, "next_offset": o} for p, o in positions.items()])

    def destroy_keys(self, subjects: Iterable[bytes]) -> None:
        """Erase keys: what was committed under them opens no more."""
        for some in _slices(list(subjects)):
            self._db.execute(sa.delete(_subject_keys).where(_subject_keys.c.subject.in_(some)))

    def forget_handles(self, handles: Iterable[bytes]) -> None:
        """List nothing under these any more: what a destroyed key has sealed is of nobody."""
        listed = _private_parts.c.handle
        for some in _slices(list(handles)):
            self._db.execute(sa.update(_private_parts).where(listed.in_(some)).values(handle=None))

    def add_keys(self, keys: Mapping[bytes, WrappedKey]) -> None:
        """Store new subject keys."""
        rows = [{"subject": s, "master": k.master, "wrapped": k.wrapped} for s, k in keys.items()]
        self._insert(_subject_keys, rows)

    def add_checkpoint(self, head: Head, signed_ms: int) -> None:
        """Keep a checkpoint: from now on it is signed."""
        checkpoint = head.checkpoint
        row = {"size": checkpoint.size, "origin": checkpoint.origin, "root": checkpoint.root}
        self._insert(_checkpoints, [{**row, "note": head.note, "signed_ms": signed_ms}])

    def lead(self, holder: str, now_ms: int, until_ms: int) -> Lease | None:
        """Take the lead if it is free, expired or ours already; None when another has it."""
        row = self._db.execute(sa.select(_leader).where(_leader.c.one == 1).with_for_update()).first()
        if row is not None and row.holder != holder and row.until_ms > now_ms:
            return None
        lease = Lease(holder=holder, term=row.term + 1 if row else 1)
        self._upsert(_leader, [{"one": 1, "holder": holder, "term": lease.term, "until_ms": until_ms}])
        return lease

    def renew(self, lease: Lease, until_ms: int) -> None:
        """Show that ``lease`` still stands, and prolong it. In every writing transaction. Raises `NotLeader`."""
        mine = (_leader.c.holder == lease.holder) & (_leader.c.term == lease.term)
        if self._db.execute(sa.update(_leader).where(mine).values(until_ms=until_ms)).rowcount != 1:
            raise NotLeader("another integrator has taken the lead")

    def _insert(self, table: sa.Table, rows: list[dict[str, Any]]) -> None:
        if rows:
            self._db.execute(sa.insert(table), rows)

    def _upsert(self, table: sa.Table, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        dialect: Any = postgresql if self._db.dialect.name == "postgresql" else sqlite
        insert = dialect.insert(table)
        keys = [column.name for column in table.primary_key]
        changed = {c.name: insert.excluded[c.name] for c in table.columns if c.name not in keys}
        self._db.execute(insert.on_conflict_do_update(index_elements=keys, set_=changed), rows)


class Store:
    """The ledger's database."""

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        """``read_only``: nothing is made and nothing can be written, not even SQLite's own checkpoint."""
        at = sa.make_url(url)
        lite = at.get_backend_name() == "sqlite"
        if lite and read_only:
            at = at.set(database=f"file:{quote(at.database or '')}", query={"mode": "ro", "uri": "true"})
        # "timeout" is SQLite's: how long a writer waits for another.
        self._engine = sa.create_engine(at, connect_args={"timeout": BUSY_TIMEOUT_S} if lite else {})
        if lite:
            sa.event.listen(self._engine, "connect", _sqlite_connect_read_only if read_only else _sqlite_connect)
            sa.event.listen(self._engine, "begin", _sqlite_begin)
        if not read_only:
            _metadata.create_all(self._engine)

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """One consistent state. On PostgreSQL under REPEATABLE READ; SQLite readers have a snapshot anyway."""
        level = {} if self._engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
        with self._engine.connect().execution_options(read_only=True, **level) as connection, connection.begin():
            yield Reader(connection)

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """One transaction: committed at the end of the block, rolled back by any exception."""
        with self._engine.begin() as connection:
            yield Writer(connection)

    def sweep(self) -> bool:
        """Leave nothing of a destroyed key on disk; return whether that is done: a reader may be in the way for now.

        SQLite overwrites what is deleted, but the log in front of the file holds it until it is written back and cut.
        """
        if self._engine.dialect.name != "sqlite" or not self._engine.url.database:
            return True
        # A connection of its own: an integrator that waited as long as a writer may would lose its lead.
        with closing(sqlite3.connect(self._engine.url.database, timeout=SWEEP_TIMEOUT_S)) as connection:
            busy: int = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        return not busy

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def _slices(values: list[bytes]) -> Iterator[list[bytes]]:
    for start in range(0, len(values), IN_MAX):
        yield values[start : start + IN_MAX]


def _sqlite_connect(connection: Any, _record: object) -> None:
    # The driver's own BEGIN comes too late and is never IMMEDIATE: `_sqlite_begin` says it.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    # A checkpoint that was published must not be lost with the power: FULL syncs the WAL at each commit.
    connection.execute("PRAGMA synchronous = FULL")
    # A destroyed key is overwritten, not just unlinked (GDPR Art. 17).
    connection.execute("PRAGMA secure_delete = ON")


def _sqlite_connect_read_only(connection: Any, _record: object) -> None:
    connection.isolation_level = None


def _sqlite_begin(connection: sa.Connection) -> None:
    reading = connection.get_execution_options().get("read_only", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
