"""Read one bundle of a log, and judge all of it that can be judged alone. Pure but for the reading.

Bundles hang together only by the roots of their subtrees and by the ids of their entries. So each can be read wherever
there is a processor free (`readers`); what it takes to judge the log is small, and can be sent.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from passerelle_consent.ledger.audit.findings import Finding
from passerelle_consent.ledger.audit.published import PublishedLog
from passerelle_consent.ledger.faults import Invalid, Unclear
from passerelle_consent.ledger.log import tree
from passerelle_consent.ledger.log.tiles import TILE_WIDTH, Tile


@dataclass(frozen=True, kw_only=True, slots=True)
class Parsed:
    """The entries of a bundle, when they were read and not only hashed."""

    idents: Sequence[bytes | None] = ()
    """Of each, in order; None for what is no entry."""
    faults: Mapping[int, str] = field(default_factory=dict)
    """Offset in the bundle → why it is no entry."""
    types: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class BundleRead:
    """What the rest of the log must know of a bundle."""

    broken: Finding | None = None
    """Why it cannot be read; everything else is then empty."""
    leaves: Sequence[bytes] = ()
    """Hashes of the entries of a partial bundle."""
    root: bytes = b""
    """Of a full bundle's entries."""
    tile: Finding | None = None
    """Why the tile of a full bundle's hashes cannot be read."""
    unlike: bool = False
    """Whether that tile holds other hashes than the entries'."""
    parsed: Parsed = field(default_factory=Parsed)


def bundle_at(index: int, size: int) -> Tile:
    """Return a bundle of a tree of ``size``."""
    return Tile(level=None, index=index, width=min(TILE_WIDTH, size - index * TILE_WIDTH))


def count(size: int) -> int:
    """How many bundles a tree of ``size`` has."""
    return -(-size // TILE_WIDTH)


def read_bundle(log: PublishedLog, bundle: Tile, *, parses: bool) -> BundleRead:
    """Read a bundle and, when it is full, hold its tile of hashes against it. Raises nothing for bad content."""
    try:
        entries = log.bundle(bundle)
    except (Invalid, Unclear) as fault:
        return BundleRead(broken=Finding.of(fault, bundle.path))
    leaves = tree.leaf_hashes(entries)
    parsed = _parse(entries) if parses else Parsed()
    if bundle.width < TILE_WIDTH:
        return BundleRead(leaves=leaves, parsed=parsed)
    tile, unlike = Tile(level=0, index=bundle.index), False
    try:
        unlike, unread = log.hashes(tile) != b"".join(leaves), None
    except (Invalid, Unclear) as fault:
        unread = Finding.of(fault, tile.path)
    return BundleRead(root=tree.subtree_root(leaves), tile=unread, unlike=unlike, parsed=parsed)


def _parse(entries: Sequence[bytes]) -> Parsed:
    from passerelle_consent.ledger.log.entries import Entry  # not needed by `fsck`, and slow to import

    idents, faults, types = list[bytes | None](), dict[int, str](), Counter[str]()
    for offset, raw in enumerate(entries):
        try:
            entry = Entry.parse(raw)
        except Invalid as fault:
            idents.append(None)
            faults[offset] = fault.what
            continue
        idents.append(entry.ident)
        types[entry.type.value] += 1
    return Parsed(idents=idents, faults=faults, types=types)
