"""What is written to the ledger's database, within one transaction: all or nothing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from passerelle_consent.ledger.database import sql
from passerelle_consent.ledger.database.reader import Head, Reader, slices
from passerelle_consent.ledger.sealing.batch import Batch
from passerelle_consent.ledger.sealing.vault import KeyChanges, SealedEntry, WrappedKey
from passerelle_schemas.faults import Fault


class NotLeader(Fault):
    """Another integrator leads, or has led since: nothing of this transaction stays."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """The right to integrate. ``term`` grows at each change of hands and fences whoever held it before."""

    holder: str
    term: int


class Writer(Reader):
    """Writes within one transaction; commits all or nothing."""

    def add(self, batch: Batch, head: Head, signed_ms: int) -> None:
        """Append a batch, and the checkpoint over it."""
        self.add_entries(batch.start, batch.entries)
        self.put_tiles(batch.tiles)
        self.change_keys(batch.keys)
        self.add_checkpoint(head, signed_ms)

    def add_entries(self, start: int, entries: Sequence[SealedEntry]) -> None:
        """Append entries at ``start``, with their private parts."""
        self._bulk.add_entries(start, entries)

    def put_tiles(self, changed: Mapping[tuple[int, int], bytes]) -> None:
        """Write tiles that are new or have grown."""
        rows = [{"level": level, "idx": index, "hashes": hashes} for (level, index), hashes in changed.items()]
        self._upsert(sql.tiles, rows)

    def put_positions(self, topic: str, positions: Mapping[int, int]) -> None:
        """Write the next offsets."""
        self._upsert(sql.positions, [{"topic": topic, "partition": p, "next_offset": o} for p, o in positions.items()])

    def change_keys(self, changes: KeyChanges) -> None:
        """Erase the keys that go, then store the new ones."""
        self.destroy_keys(changes.destroyed)
        self.forget_handles(changes.forgotten)
        self.add_keys(changes.made)

    def destroy_keys(self, subjects: Iterable[bytes]) -> None:
        """Erase keys: what was committed under them opens no more."""
        for some in slices(list(subjects)):
            self._db.execute(sa.delete(sql.subject_keys).where(sql.subject_keys.c.subject.in_(some)))

    def forget_handles(self, handles: Iterable[bytes]) -> None:
        """List nothing under these any more: what a destroyed key has sealed is of nobody."""
        listed = sql.private_parts.c.handle
        for some in slices(list(handles)):
            self._db.execute(sa.update(sql.private_parts).where(listed.in_(some)).values(handle=None))

    def add_keys(self, keys: Mapping[bytes, WrappedKey]) -> None:
        """Store new subject keys."""
        self._bulk.add_keys(keys)

    def rewrap_keys(self, keys: Mapping[bytes, WrappedKey]) -> None:
        """Replace keys that are stored; one that is gone stays gone."""
        k = sql.subject_keys.c
        changed = sa.update(sql.subject_keys).where(k.subject == sa.bindparam("of"))
        changed = changed.values(master=sa.bindparam("by"), wrapped=sa.bindparam("anew"))
        if rows := [{"of": subject, "by": key.master, "anew": key.wrapped} for subject, key in keys.items()]:
            self._db.execute(changed, rows)

    def add_checkpoint(self, head: Head, signed_ms: int) -> None:
        """Keep a checkpoint: from now on it is signed."""
        checkpoint = head.checkpoint
        row = {"size": checkpoint.size, "origin": checkpoint.origin, "root": checkpoint.root}
        self._insert(sql.checkpoints, [{**row, "note": head.note, "signed_ms": signed_ms}])

    def lead(self, holder: str, now_ms: int, until_ms: int) -> Lease | None:
        """Take the lead if it is free, expired or ours already; None when another has it."""
        row = self.hold_leader()
        if row.holder != holder and row.until_ms > now_ms:
            return None
        lease = Lease(holder=holder, term=row.term + 1)
        self._db.execute(sa.update(sql.leader).values(holder=holder, term=lease.term, until_ms=until_ms))
        return lease

    def hold_leader(self) -> "sa.Row[Any]":
        """Lock the leader's row and return it: until this transaction ends, no other that writes commits."""
        # There must be a row to lock: of two who begin a log together, one waits for the other.
        nobody = {"one": 1, "holder": "", "term": 0, "until_ms": 0}
        self._db.execute(self._dialect.insert(sql.leader).on_conflict_do_nothing(), nobody)
        return self._db.execute(sa.select(sql.leader).where(sql.leader.c.one == 1).with_for_update()).one()

    def renew(self, lease: Lease, until_ms: int) -> None:
        """Show that ``lease`` still stands, and prolong it. In every writing transaction. Raises `NotLeader`."""
        mine = (sql.leader.c.holder == lease.holder) & (sql.leader.c.term == lease.term)
        if self._db.execute(sa.update(sql.leader).where(mine).values(until_ms=until_ms)).rowcount != 1:
            raise NotLeader("another integrator has taken the lead")

    @property
    def _dialect(self) -> Any:
        return postgresql if self._db.dialect.name == "postgresql" else sqlite

    def _insert(self, table: sa.Table, rows: list[dict[str, Any]]) -> None:
        if rows:
            self._db.execute(sa.insert(table), rows)

    def _upsert(self, table: sa.Table, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        insert = self._dialect.insert(table)
        keys = [column.name for column in table.primary_key]
        changed = {c.name: insert.excluded[c.name] for c in table.columns if c.name not in keys}
        self._db.execute(insert.on_conflict_do_update(index_elements=keys, set_=changed), rows)
