"""What is read from the ledger's database, within one transaction: one consistent state."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from passerelle_consent.ledger.database import sql
from passerelle_consent.ledger.database.bulk import IN_MAX, bulk_of
from passerelle_consent.ledger.log.checkpoint import Checkpoint
from passerelle_consent.ledger.sealing.vault import WrappedKey

ROWS_AT_ONCE = 1_000
"""Fetched from the server at a time, by whoever reads all of a table."""

# Built once: a replay asks it for every subject of a city.
_LISTED = (
    sa.select(sql.private_parts.c.idx, sql.entries.c.body, sql.private_parts.c.sealed)
    .join_from(sql.private_parts, sql.entries, sql.entries.c.idx == sql.private_parts.c.idx)
    .where(
        sql.private_parts.c.handle == sa.bindparam("handle"),
        sql.private_parts.c.idx >= sa.bindparam("start"),
        sql.private_parts.c.idx < sa.bindparam("end"),
    )
    .order_by(sql.private_parts.c.idx.desc())
    .limit(sa.bindparam("count"))
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """The last signed checkpoint and its note."""

    checkpoint: Checkpoint
    note: bytes


class Reader:
    """Reads within one transaction: one consistent state."""

    def __init__(self, connection: sa.Connection) -> None:
        self._db = connection
        self._bulk = bulk_of(connection)

    def rows(self, query: sa.Select[Any]) -> Iterator[sa.Row[Any]]:
        """Run a query of this transaction, and yield its rows as they come."""
        yield from self._db.execute(query, execution_options={"yield_per": ROWS_AT_ONCE})

    def head(self) -> Head | None:
        """Return the last checkpoint, None for a log that was never begun."""
        row = self._db.execute(sa.select(sql.checkpoints).order_by(sql.checkpoints.c.size.desc()).limit(1)).first()
        if row is None:
            return None
        return Head(checkpoint=Checkpoint(origin=row.origin, size=row.size, root=row.root), note=row.note)

    def tile(self, level: int, index: int) -> bytes:
        """Hashes of a tile, empty when there is none."""
        return self._bulk.tile(level, index)

    def bodies(self, start: int, end: int) -> list[bytes]:
        """Entries ``[start, end)`` in order."""
        where = (sql.entries.c.idx >= start) & (sql.entries.c.idx < end)
        return list(self._db.scalars(sa.select(sql.entries.c.body).where(where).order_by(sql.entries.c.idx)))

    def sealed(self, index: int) -> bytes | None:
        """Private part of one entry."""
        return self._db.scalar(sa.select(sql.private_parts.c.sealed).where(sql.private_parts.c.idx == index))

    def known(self, idents: Iterable[bytes]) -> set[bytes]:
        """Those of ``idents`` that already have an entry."""
        found: set[bytes] = set()
        for some in slices(list(idents)):
            found.update(self._db.scalars(sa.select(sql.entries.c.ident).where(sql.entries.c.ident.in_(some))))
        return found

    def subject_keys(self, subjects: Iterable[bytes]) -> dict[bytes, WrappedKey]:
        """Return the stored keys of those subjects that have one."""
        return dict(self._bulk.subject_keys(list(subjects)))

    def subjects(self, after: bytes, count: int) -> list[tuple[bytes, WrappedKey]]:
        """Return the next subjects by ref, with their keys."""
        rows = self._db.execute(
            sa.select(sql.subject_keys)
            .where(sql.subject_keys.c.subject > after)
            .order_by(sql.subject_keys.c.subject)
            .limit(count)
        )
        return [(row.subject, WrappedKey(master=row.master, wrapped=row.wrapped)) for row in rows]

    def not_under(self, master: str, after: bytes, count: int) -> list[tuple[bytes, WrappedKey]]:
        """Return the next subjects by ref whose keys another master wraps, with those keys."""
        k = sql.subject_keys.c
        asked = sa.select(sql.subject_keys).where(k.subject > after, k.master != master)
        rows = self._db.execute(asked.order_by(k.subject).limit(count))
        return [(row.subject, WrappedKey(master=row.master, wrapped=row.wrapped)) for row in rows]

    def count_not_under(self, master: str) -> int:
        """Count the keys that another master wraps."""
        others = sql.subject_keys.c.master != master
        return self._db.scalar(sa.select(sa.func.count()).select_from(sql.subject_keys).where(others)) or 0

    def listed(self, handle: bytes, *, start: int = 0, end: int, count: int) -> list[tuple[int, bytes, bytes]]:
        """Return (index, entry, private part) of entries under a handle in ``[start, end)``, the newest first."""
        rows = self._db.execute(_LISTED, {"handle": handle, "start": start, "end": end, "count": count})
        return [(row.idx, row.body, row.sealed) for row in rows]

    def place(self, handle: bytes, ident: bytes) -> int | None:
        """Return the index of the entry with this id, when it stands under the handle."""
        e, p = sql.entries.c, sql.private_parts.c
        joined = sa.select(e.idx).join_from(sql.entries, sql.private_parts, e.idx == p.idx)
        return self._db.scalar(joined.where(e.ident == ident, p.handle == handle).order_by(e.idx).limit(1))

    def unlisted(self, start: int, end: int) -> list[bytes]:
        """Return the entries in ``[start, end)`` that stand under no handle: about nobody, or about nobody any more."""
        e, p = sql.entries.c, sql.private_parts.c
        rows = (
            sa.select(e.body)
            .join_from(sql.entries, sql.private_parts, e.idx == p.idx, isouter=True)
            .where(e.idx >= start, e.idx < end, p.handle.is_(None))
            .order_by(e.idx)
        )
        return list(self._db.scalars(rows))

    def size_at(self, signed_ms: int) -> int:
        """Return the size of the last checkpoint signed by then: whatever came later stands behind it."""
        last = sa.select(sa.func.max(sql.checkpoints.c.size)).where(sql.checkpoints.c.signed_ms <= signed_ms)
        return self._db.scalar(last) or 0

    def positions(self, topic: str) -> dict[int, int]:
        """Partition → the next offset to integrate."""
        rows = self._db.execute(sa.select(sql.positions).where(sql.positions.c.topic == topic))
        return {row.partition: row.next_offset for row in rows}


def slices(values: list[bytes]) -> Iterator[list[bytes]]:
    """Cut what one IN (…) may not hold at once."""
    for start in range(0, len(values), IN_MAX):
        yield values[start : start + IN_MAX]
