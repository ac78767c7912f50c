"""C2SP tlog-tiles: how the tree and the entries lie in files. Pure: names, widths and bytes.

A tile holds up to 256 hashes of one level; a bundle holds the entries under one tile of level 0. The rightmost of
each level may be partial and has its width in its name.
"""

import re
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

from passerelle_consent.ledger.faults import Invalid
from passerelle_consent.ledger.log import tree

TILE_WIDTH = 256
TILE_HEIGHT = 8
LEVELS = 8
"""Levels of tiles in a tree of 2**63 entries, more than any index of ours (RFC 6962 sizes are uint64)."""

ENTRY_BYTES_MAX = 0xFFFF
"""tlog-tiles, "Log entries": the length prefix is a uint16."""

_PATH = re.compile(r"tile/(entries|[1-5]?[0-9]|6[0-3])/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")
_PREFIX = struct.Struct(">H")

TILES_KEPT = 1_024
"""Of a source: 8 MB. A proof needs one for each level; whoever goes through a log needs each for a while."""

TileReader: TypeAlias = Callable[[int, int], bytes]
"""(level, index) → the hashes of that tile as far as they are known."""


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Tile:
    """The name of a tile of hashes, or of a bundle of entries when ``level`` is None."""

    level: int | None
    index: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """Relative path with slashes, as tlog-tiles serves it: ``tile/0/x001/234.p/5``."""
        kind = "entries" if self.level is None else str(self.level)
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{kind}/{_elements(self.index)}{partial}"

    @property
    def start(self) -> int:
        """Index of the first hash or entry in it, counted along its level."""
        return self.index * TILE_WIDTH

    @classmethod
    def parse(cls, path: str) -> "Tile":
        """Read a path in its one canonical form. Raises `Invalid`."""
        match = _PATH.fullmatch(path)
        if match is None:
            raise Invalid("not the path of a tile", where=path)
        kind, elements, width = match.groups()
        tile = cls(
            level=None if kind == "entries" else int(kind),
            index=int(elements.replace("x", "").replace("/", "")),
            width=int(width or TILE_WIDTH),
        )
        if tile.path != path or tile.width > TILE_WIDTH:
            raise Invalid("not the path of a tile", where=path)
        return tile


def _elements(index: int) -> str:
    digits = f"{index:d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    parts = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    return "/".join([*(f"x{p}" for p in parts[:-1]), parts[-1]])


def hash_tiles(size: int, since: int = 0) -> Iterator[Tile]:
    """Yield the tiles that a tree of ``size`` needs and a tree of ``since`` did not have."""
    for level in range(LEVELS):
        count, before = size >> TILE_HEIGHT * level, since >> TILE_HEIGHT * level
        if count == before:
            return
        yield from _row(level, count, before)


def bundles(size: int, since: int = 0) -> Iterator[Tile]:
    """Yield the entry bundles of a tree of ``size`` that a tree of ``since`` did not have."""
    if size != since:
        yield from _row(None, size, since)


def _row(level: int | None, count: int, before: int) -> Iterator[Tile]:
    full, partial = divmod(count, TILE_WIDTH)
    for index in range(before // TILE_WIDTH, full):
        yield Tile(level=level, index=index)
    if partial:
        yield Tile(level=level, index=full, width=partial)


def pack(entries: Iterable[bytes]) -> bytes:
    """Write a bundle: each entry after its length. Raises `Invalid` for an entry that is too long."""
    parts: list[bytes] = []
    for entry in entries:
        if len(entry) > ENTRY_BYTES_MAX:
            raise Invalid(f"an entry of {len(entry)} bytes does not fit a bundle")
        parts += (_PREFIX.pack(len(entry)), entry)
    return b"".join(parts)


def unpack(bundle: bytes, width: int) -> list[bytes]:
    """Read a bundle of exactly ``width`` entries. Raises `Invalid`."""
    entries: list[bytes] = []
    add, at, end = entries.append, 0, len(bundle)
    while at < end:
        start = at + _PREFIX.size
        if start > end:
            raise Invalid(f"truncated in the length of entry {len(entries)}")
        at = start + (bundle[at] << 8 | bundle[at + 1])
        add(bundle[start:at])
    if at > end:
        raise Invalid(f"truncated in entry {len(entries) - 1}")
    if len(entries) != width:
        raise Invalid(f"holds {len(entries)} entries where {width} belong")
    return entries


def hashes_of(tile: bytes, width: int) -> list[bytes]:
    """Split a tile into exactly ``width`` hashes. Raises `Invalid`."""
    if len(tile) != width * tree.HASH_BYTES:
        raise Invalid(f"{len(tile)} bytes are no tile of {width} hashes")
    return _split(tile)


def _split(tile: bytes) -> list[bytes]:
    return [tile[i : i + tree.HASH_BYTES] for i in range(0, len(tile), tree.HASH_BYTES)]


def source_of(read: TileReader) -> tree.HashSource:
    """Offer tiles as a source of subtree hashes; the last `TILES_KEPT` are kept."""
    kept = lru_cache(maxsize=TILES_KEPT)(read)

    def source(level: int, index: int) -> bytes:
        tile_level, height = divmod(level, TILE_HEIGHT)
        first = index << height
        number, offset = divmod(first, TILE_WIDTH)
        part = kept(tile_level, number)[offset * tree.HASH_BYTES : (offset + (1 << height)) * tree.HASH_BYTES]
        return tree.subtree_root(hashes_of(part, 1 << height))

    return source


@dataclass(kw_only=True, slots=True)
class RightEdge:
    """The part of a tree that still grows: its size and the partial tile of each level. Enough to append."""

    size: int = 0
    rows: list[list[bytes]] = field(default_factory=list)

    @classmethod
    def of(cls, size: int, read: TileReader) -> "RightEdge":
        """Read the edge of a tree of ``size`` from its tiles. Raises `Invalid` when one is too short."""
        edge = cls(size=size)
        count = size
        while count:
            index, width = divmod(count, TILE_WIDTH)
            tile = read(len(edge.rows), index)[: width * tree.HASH_BYTES] if width else b""
            edge.rows.append(hashes_of(tile, width))
            count >>= TILE_HEIGHT
        return edge

    def append(self, leaf_hashes: Sequence[bytes]) -> dict[tuple[int, int], bytes]:
        """Append leaves; return the tiles that changed, whole, by (level, index)."""
        count, self.size = self.size, self.size + len(leaf_hashes)
        return self._rise(0, count, list(leaf_hashes))

    def append_full(self, roots: Sequence[bytes]) -> dict[tuple[int, int], bytes]:
        """Append full tiles of leaves, by their roots alone; return the tiles above that changed. None may be begun."""
        assert not self.size % TILE_WIDTH, "a partial tile is the last"  # noqa: S101 - an invariant of the caller
        if not self.rows:
            self.rows.append([])
        count, self.size = self.size // TILE_WIDTH, self.size + len(roots) * TILE_WIDTH
        return self._rise(1, count, list(roots))

    def _rise(self, level: int, count: int, rising: list[bytes]) -> dict[tuple[int, int], bytes]:
        """Append to a level that holds ``count`` hashes, and with what becomes full to those above it."""
        changed: dict[tuple[int, int], bytes] = {}
        while rising:
            if level == len(self.rows):
                self.rows.append([])
            rising = self._append_row(level, count // TILE_WIDTH, rising, changed)
            count, level = count >> TILE_HEIGHT, level + 1
        return changed

    def _append_row(
        self, level: int, index: int, hashes: list[bytes], changed: dict[tuple[int, int], bytes]
    ) -> list[bytes]:
        """Fill the tiles of one level from ``index`` on; return the roots of those that are full now."""
        row, full = self.rows[level] + hashes, []
        while len(row) >= TILE_WIDTH:
            done, row = row[:TILE_WIDTH], row[TILE_WIDTH:]
            changed[level, index] = b"".join(done)
            full.append(tree.subtree_root(done))
            index += 1
        if row:
            changed[level, index] = b"".join(row)
        self.rows[level] = row
        return full

    def root(self) -> bytes:
        """Root of the tree."""
        result: bytes | None = None
        for row in self.rows:
            for level, index in reversed(list(tree.peaks(0, len(row)))):
                peak = tree.subtree_root(row[index << level : (index + 1) << level])
                result = peak if result is None else tree.node_hash(peak, result)
        return tree.EMPTY_ROOT if result is None else result
