"""Verify the ledger's database: each row of its evidence against the tree, the signatures and the keys.

The entries must lead to the root of *every* checkpoint that was signed, each checkpoint's columns must be what its note
says, every tile must hold what the entries hash to, every key must open under the master key that it names, and every
private part that somebody can still open must be the one that its entry commits to.

Not evidence, and not looked at: how far the topics were read (`positions`), who leads (`leader`), by which clock a
checkpoint was signed (`signed_ms`), and private parts whose key is destroyed, which nobody can open.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from passerelle_consent.ledger.audit.findings import FINDINGS_MAX, Finding, Outcome
from passerelle_consent.ledger.database import sql
from passerelle_consent.ledger.database.reader import Reader
from passerelle_consent.ledger.faults import Invalid, Unclear
from passerelle_consent.ledger.log import tree
from passerelle_consent.ledger.log.checkpoint import Checkpoint, open_checkpoint
from passerelle_consent.ledger.log.commitments import SubjectKey, read_private, subject_commit, unseal
from passerelle_consent.ledger.log.entries import Entry
from passerelle_consent.ledger.log.masters import Masters
from passerelle_consent.ledger.log.note import Verifier
from passerelle_consent.ledger.log.tiles import TILE_HEIGHT, TILE_WIDTH, RightEdge, Tile
from passerelle_consent.ledger.sealing.vault import WrappedKey

ROWS_AT_ONCE = 4_096
"""Entries of one query: some 2 MB."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Examination:
    """The result. ``size`` is that of the last checkpoint whose root the entries lead to."""

    outcome: Outcome
    size: int
    checkpoints: int
    findings: tuple[Finding, ...]
    findings_total: int


def verify_stored(db: Reader, verifier: Verifier, masters: Masters) -> Examination:
    """Examine every row. Raises nothing for bad content: that is in the findings."""
    seen = _Seen(db=db, verifier=verifier, masters=masters)
    seen.read_keys()
    seen.read_entries()
    seen.read_tiles()
    return Examination(
        outcome=seen.outcome(),
        size=seen.agreed,
        checkpoints=seen.checkpoints,
        findings=tuple(seen.findings),
        findings_total=seen.total,
    )


@dataclass(kw_only=True, slots=True)
class _Seen:
    """What one examination has seen so far."""

    db: Reader
    verifier: Verifier
    masters: Masters
    keys: dict[bytes, tuple[bytes, SubjectKey]] = field(default_factory=dict)
    """Handle → whose, and the key."""
    locked: bool = False
    """Whether some keys are of a master key that is not here."""
    edge: RightEdge = field(default_factory=RightEdge)
    full: set[tuple[int, int]] = field(default_factory=set)
    """Tiles that were compared when they became full."""
    agreed: int = 0
    checkpoints: int = 0
    findings: list[Finding] = field(default_factory=list)
    total: int = 0
    unclear: int = 0

    def note(self, where: str, fault: Invalid | Unclear) -> None:
        outcome = Outcome.INVALID if isinstance(fault, Invalid) else Outcome.UNCLEAR
        self.total += 1
        self.unclear += outcome is Outcome.UNCLEAR
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(Finding(file=where, what=fault.what, outcome=outcome, hint=fault.hint))

    def outcome(self) -> Outcome:
        """A contradiction outweighs a gap."""
        if self.total > self.unclear:
            return Outcome.INVALID
        return Outcome.UNCLEAR if self.total else Outcome.VALID

    def read_keys(self) -> None:
        for row in self.db.rows(sa.select(sql.subject_keys).order_by(sql.subject_keys.c.subject)):
            try:
                key = WrappedKey(master=row.master, wrapped=row.wrapped).open(row.subject, self.masters)
                self.keys[key.handle] = row.subject, key
            except (Invalid, Unclear) as fault:
                self.locked |= isinstance(fault, Unclear)
                self.note("subject_keys", fault)  # and not which row: its name is the person

    def read_entries(self) -> None:
        for row in self.db.rows(sa.select(sql.checkpoints).order_by(sql.checkpoints.c.size)):
            self.checkpoints += 1
            try:
                self._lead_to(self._signed(row))
            except (Invalid, Unclear) as fault:
                self.note(f"checkpoints: size {row.size}", fault)
        if not self.checkpoints:
            self.note("checkpoints", Unclear("there is none: this log was never begun"))
        self._check_count(sql.entries, self.edge.size, "entries")

    def _lead_to(self, checkpoint: Checkpoint) -> None:
        self._read_up_to(checkpoint.size)
        if self.edge.size != checkpoint.size or self.edge.root() != checkpoint.root:
            raise Invalid("its root is not the root of the entries")
        self.agreed = checkpoint.size

    def _signed(self, row: "sa.Row[Any]") -> Checkpoint:
        """Open a stored checkpoint; its columns are what its note says."""
        opened = open_checkpoint(row.note, self.verifier)
        if (row.origin, row.size, row.root) != (opened.origin, opened.size, opened.root):
            raise Invalid("its columns are not what its note says")
        return opened

    def _read_up_to(self, size: int) -> None:
        while self.edge.size < size:
            start, end = self.edge.size, min(size, self.edge.size + ROWS_AT_ONCE)
            bodies = list(self._entries(start, end))
            if len(bodies) != end - start:
                raise Invalid(f"entries {start} to {end - 1} are not all there")
            changed = self.edge.append(tree.leaf_hashes(bodies))
            for (level, index), hashes in changed.items():
                if len(hashes) == TILE_WIDTH * tree.HASH_BYTES:
                    self.full.add((level, index))
                    self._compare(level, index, hashes)

    def _entries(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the entries of a range, each held against its other columns and its private part."""
        e, p = sql.entries.c, sql.private_parts.c
        query = (
            sa.select(e.idx, e.ident, e.body, p.sealed, p.handle)
            .join_from(sql.entries, sql.private_parts, e.idx == p.idx, isouter=True)
            .where(e.idx >= start, e.idx < end)
            .order_by(e.idx)
        )
        for row in self.db.rows(query):
            try:
                self._check(Entry.parse(row.body), row)
            except (Invalid, Unclear) as fault:
                self.note(f"entries: {row.idx}", fault)
            yield row.body

    def _check(self, entry: Entry, row: "sa.Row[Any]") -> None:
        if entry.ident != row.ident:
            raise Invalid("its id is not the entry's")
        if row.handle is None:
            return
        if row.handle not in self.keys and self.locked:
            raise Unclear("its private part may stand under a key that another master key wraps")
        if row.handle not in self.keys:
            raise Invalid("its private part stands under a key that is not there")
        subject, key = self.keys[row.handle]
        if entry.subject_commit != subject_commit(key.secret, entry.ident):
            raise Invalid("its private part stands under another person's key")
        private = read_private(unseal(key, entry.ident, row.sealed, entry.body_commit or b""))
        if private.get("subject") != subject.hex():
            raise Invalid("its private part is another person's")

    def read_tiles(self) -> None:
        """Compare the tiles that still grow, and see that there are no others. Full ones were compared as they grew."""
        partial = 0
        for level, row in enumerate(self.edge.rows):
            if row:
                partial += 1
                index = (self.edge.size >> TILE_HEIGHT * level) // TILE_WIDTH
                self._compare(level, index, b"".join(row))
        self._check_count(sql.tiles, len(self.full) + partial, "tiles")
        orphans = sa.select(sql.private_parts.c.idx).where(sql.private_parts.c.idx.not_in(sa.select(sql.entries.c.idx)))
        for part in self.db.rows(orphans.limit(FINDINGS_MAX)):
            self.note(f"private_parts: {part.idx}", Invalid("belongs to no entry"))

    def _compare(self, level: int, index: int, hashes: bytes) -> None:
        if self.db.tile(level, index) != hashes:
            where = f"tiles: {Tile(level=level, index=index).path}"
            self.note(where, Invalid("does not hold the hashes of the entries"))

    def _check_count(self, table: sa.Table, expected: int, where: str) -> None:
        (row,) = self.db.rows(sa.select(sa.func.count().label("held")).select_from(table))
        if row.held != expected:
            self.note(where, Invalid(f"{row.held} rows, where {expected} belong"))
