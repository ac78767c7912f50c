"""Verify a published log from its files and its verifier key alone.

`fsck` rebuilds the root from the entry bundles and holds it against the signed checkpoint; every tile of hashes, be it
current or outdated, must hold what the entries hash to. No byte of any file can change unseen, and it keeps up with any
log. `verify` reads the entries as well, which takes some ten times as long: each must be canonical, none twice.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import TypeAlias

from passerelle_consent.ledger.audit import readers
from passerelle_consent.ledger.audit.bundles import BundleRead, Parsed
from passerelle_consent.ledger.audit.findings import FINDINGS_MAX, Finding, Outcome
from passerelle_consent.ledger.audit.published import BUNDLE_BYTES_MAX, CHECKPOINT, Absent, PublishedLog
from passerelle_consent.ledger.faults import Invalid, Unclear
from passerelle_consent.ledger.log import tiles, tree
from passerelle_consent.ledger.log.checkpoint import Checkpoint
from passerelle_consent.ledger.log.note import Note, Verifier
from passerelle_consent.ledger.log.tiles import TILE_HEIGHT, TILE_WIDTH, RightEdge, Tile
from passerelle_consent.ledger.log.trust import Policy

Progress: TypeAlias = Callable[[int, int], None]
"""(entries read, of how many): called as the reading goes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """The result. ``size`` and ``root`` are those of the signed checkpoint, None when it did not open."""

    outcome: Outcome
    origin: str
    size: int | None
    root: bytes | None
    entries: Mapping[str, int]
    """Entry type → how many were read; empty after `fsck`."""
    findings: tuple[Finding, ...]
    findings_total: int
    witnesses: Mapping[str, int]
    """The policy's witnesses that cosigned the checkpoint, and when (seconds since the Epoch)."""
    ahead: int
    """Files beyond the checkpoint: published for the next one, which is not there yet. Not judged."""


def fsck(
    log: PublishedLog,
    verifier: Verifier,
    policy: Policy | None = None,
    *,
    processes: int | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Rebuild the tree from the bundles; with a policy, its witnesses must have cosigned.

    ``processes``: how many read the bundles (`readers`); unless told, as many as make it soonest. The answer is the
    same with any number of them. Raises nothing for bad content: that is in the findings.
    """
    return _read(_Reading(log=log, parses=False, processes=processes, progress=progress), verifier, policy)


def verify(
    log: PublishedLog,
    verifier: Verifier,
    policy: Policy | None = None,
    *,
    processes: int | None = None,
    progress: Progress | None = None,
) -> Verification:
    """The same, and read every entry."""
    return _read(_Reading(log=log, parses=True, processes=processes, progress=progress), verifier, policy)


def _read(reading: "_Reading", verifier: Verifier, policy: Policy | None) -> Verification:
    checkpoint, witnesses = None, dict[str, int]()
    try:
        checkpoint, note = reading.log.checkpoint(verifier)
        if policy is not None:
            witnesses = reading.cosigned(policy, note)
        reading.judge(checkpoint)
    except (Invalid, Unclear) as fault:
        reading.note(fault)
    return Verification(
        outcome=reading.outcome(),
        origin=verifier.name,
        size=checkpoint.size if checkpoint else None,
        root=checkpoint.root if checkpoint else None,
        entries=dict(reading.types),
        findings=tuple(reading.findings),
        findings_total=sum(reading.counts.values()),
        witnesses=witnesses,
        ahead=reading.ahead,
    )


@dataclass(kw_only=True, slots=True)
class _Reading:
    """What one verification has seen so far."""

    log: PublishedLog
    parses: bool
    """Whether entries are read, or only hashed."""
    processes: int | None
    progress: Progress | None
    findings: list[Finding] = field(default_factory=list)
    counts: Counter[Outcome] = field(default_factory=Counter)
    types: Counter[str] = field(default_factory=Counter)
    idents: set[bytes] = field(default_factory=set)
    edge: RightEdge = field(default_factory=RightEdge)
    unlike: list[Tile] = field(default_factory=list)
    """Tiles whose file does not hold what the entries hash to."""
    ahead: int = 0

    def note(self, fault: Invalid | Unclear, file: str = CHECKPOINT) -> None:
        self.keep(Finding.of(fault, file))

    def keep(self, finding: Finding) -> None:
        self.counts[finding.outcome] += 1
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(finding)

    def cosigned(self, policy: Policy, note: bytes) -> dict[str, int]:
        """Hold the checkpoint against a policy; what is wrong with it ends no reading."""
        try:
            return policy.check(Note.parse(note))
        except (Invalid, Unclear) as fault:
            self.note(fault)
            return {}

    def outcome(self) -> Outcome:
        """A contradiction outweighs a gap."""
        if self.counts[Outcome.INVALID]:
            return Outcome.INVALID
        return Outcome.UNCLEAR if self.counts[Outcome.UNCLEAR] else Outcome.VALID

    def judge(self, checkpoint: Checkpoint) -> None:
        if not self._rebuild(checkpoint.size):
            return
        for level, row in enumerate(self.edge.rows):
            if row:
                index = (self.edge.size >> TILE_HEIGHT * level) // TILE_WIDTH
                self._compare(Tile(level=level, index=index, width=len(row)), b"".join(row))
        self._attribute(root_holds=self.edge.root() == checkpoint.root)
        self._sweep(checkpoint.size)

    def _rebuild(self, size: int) -> bool:
        """Put the tree together. A bundle that cannot be read ends it: what comes after could not be placed."""
        processes = self.processes or readers.how_many(self.log, size, parses=self.parses)
        with closing(readers.read_bundles(self.log, size, parses=self.parses, processes=processes)) as reads:
            for bundle, read in zip(tiles.bundles(size), reads, strict=True):
                if read.broken is not None:
                    self.keep(read.broken)
                    return False
                self._place(bundle, read)
                if self.progress is not None:
                    self.progress(self.edge.size, size)
        return True

    def _place(self, bundle: Tile, read: BundleRead) -> None:
        self._tell_entries(bundle, read.parsed)
        if bundle.width < TILE_WIDTH:
            self.edge.append(read.leaves)  # it is the last: its tile is compared with those that still grow
            return
        if read.tile is not None:
            self.keep(read.tile)
        elif read.unlike:
            self.unlike.append(Tile(level=0, index=bundle.index))
        for (level, index), hashes in self.edge.append_full([read.root]).items():
            if len(hashes) == TILE_WIDTH * tree.HASH_BYTES:
                self._compare(Tile(level=level, index=index), hashes)

    def _tell_entries(self, bundle: Tile, parsed: Parsed) -> None:
        self.types.update(parsed.types)
        for number, ident in enumerate(parsed.idents, bundle.start):
            if ident is None:
                what = parsed.faults[number - bundle.start]
                self.note(Invalid(f"entry {number}: {what}", where=bundle.path))
            elif ident in self.idents:
                self.note(Invalid(f"entry {number} has the id of an earlier one", where=bundle.path))
            else:
                self.idents.add(ident)

    def _compare(self, tile: Tile, hashes: bytes) -> None:
        try:
            if self.log.hashes(tile) != hashes:
                self.unlike.append(tile)
        except (Invalid, Unclear) as fault:
            self.note(fault)

    def _attribute(self, *, root_holds: bool) -> None:
        """Name the file at fault: when the entries lead to the signed root, it is the tile; else it is the bundle."""
        if root_holds:
            for tile in self.unlike:
                self.note(Invalid("does not hold the hashes of its entries", where=tile.path))
            return
        bundles = [Tile(level=None, index=t.index, width=t.width) for t in self.unlike if t.level == 0]
        for bundle in bundles:
            self.note(Invalid("its entries are not those that were signed", where=bundle.path))
        if not bundles:
            self.note(Invalid("its root is not the root of the entries", where=CHECKPOINT))

    def _sweep(self, size: int) -> None:
        """Look at every file that was not compared: it must agree with the tile that was, or it is foreign."""
        for name in self.log.names():
            if name == CHECKPOINT:
                continue
            try:
                self._look_at(Tile.parse(name), size)
            except Absent:
                continue  # a partial tile that the publisher has just taken away
            except (Invalid, Unclear) as fault:
                self.note(fault, name)

    def _look_at(self, tile: Tile, size: int) -> None:
        count = size >> TILE_HEIGHT * (tile.level or 0)
        known = min(TILE_WIDTH, count - tile.start)
        if known == tile.width:
            return  # compared already
        content = self._content(tile)
        if known < tile.width:
            self.ahead += 1
        common = min(known, tile.width)
        if common > 0:
            current = self._content(Tile(level=tile.level, index=tile.index, width=known))
            if content[:common] != current[:common]:
                raise Invalid("does not agree with the current tile of its place", where=tile.path)

    def _content(self, tile: Tile) -> list[bytes]:
        if tile.level is None:
            return tiles.unpack(self.log.read(tile.path, BUNDLE_BYTES_MAX), tile.width)
        return tiles.hashes_of(self.log.read(tile.path, BUNDLE_BYTES_MAX), tile.width)
