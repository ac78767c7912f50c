"""A published log as its readers see it: files laid out as tlog-tiles says. Nothing read here is believed yet."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self, TypeAlias

from passerelle_consent.ledger.faults import Invalid, Unclear
from passerelle_consent.ledger.log import tiles, tree
from passerelle_consent.ledger.log.checkpoint import Checkpoint, open_checkpoint
from passerelle_consent.ledger.log.note import NOTE_BYTES_MAX, Verifier
from passerelle_consent.ledger.log.tiles import TILE_WIDTH, Tile

CHECKPOINT = "checkpoint"
BUNDLE_BYTES_MAX = TILE_WIDTH * (2 + tiles.ENTRY_BYTES_MAX)


class Absent(Unclear):
    """A file that the log should have is not there."""


Opener: TypeAlias = Callable[[], "PublishedLog"]


class PublishedLog(ABC):
    """The files of one log, wherever they are. Faults name the file, relative to the log's beginning."""

    where: str
    """What a person calls it: a path or an address."""

    @abstractmethod
    def read(self, name: str, bytes_max: int) -> bytes:
        """Raises `Absent`, `Unclear` when the file cannot be read, `Invalid` when it is longer than any such file."""

    def published_s(self) -> float | None:
        """When the checkpoint was last written, in seconds since the Epoch, as its keeper says; None if unknown."""
        return None

    def opener(self) -> Opener | None:
        """What opens the same log in another process, as it can be sent there; None where nothing can."""
        return None

    def close(self) -> None:
        """Let go of what reading needs."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def names(self) -> Iterator[str]:
        """Yield the relative path of every file; nothing where they cannot be listed."""
        yield from ()

    def checkpoint(self, verifier: Verifier) -> tuple[Checkpoint, bytes]:
        """Open the checkpoint; return it with the bytes of its note."""
        data = self.read(CHECKPOINT, NOTE_BYTES_MAX)
        try:
            return open_checkpoint(data, verifier), data
        except (Invalid, Unclear) as fault:
            raise type(fault)(fault.what, where=CHECKPOINT, hint=fault.hint) from None

    def hashes(self, tile: Tile) -> bytes:
        """Read a tile of hashes, whole."""
        data = self._read_or_full(tile, TILE_WIDTH * tree.HASH_BYTES)
        if len(data) not in (tile.width * tree.HASH_BYTES, TILE_WIDTH * tree.HASH_BYTES):
            raise Invalid(f"{len(data)} bytes are no tile of {tile.width} hashes", where=tile.path)
        return data[: tile.width * tree.HASH_BYTES]

    def bundle(self, tile: Tile) -> list[bytes]:
        """Read the entries of a bundle."""
        try:
            return tiles.unpack(self.read(tile.path, BUNDLE_BYTES_MAX), tile.width)
        except Absent as fault:
            if tile.width == TILE_WIDTH:
                raise
            return self._full_bundle(tile, fault)[: tile.width]
        except Invalid as fault:
            raise Invalid(fault.what, where=tile.path) from None

    def source(self, size: int) -> tree.HashSource:
        """Offer the tiles of a tree of ``size`` as a source of hashes."""

        def read(level: int, index: int) -> bytes:
            width = min(TILE_WIDTH, (size >> tiles.TILE_HEIGHT * level) - index * TILE_WIDTH)
            return self.hashes(Tile(level=level, index=index, width=width))

        return tiles.source_of(read)

    def _full_bundle(self, tile: Tile, absent: Absent) -> list[bytes]:
        """A partial bundle may go once the full one is there (tlog-tiles, "Partial Tiles")."""
        full = Tile(level=None, index=tile.index)
        try:
            return self.bundle(full)
        except Absent:
            raise absent from None

    def _read_or_full(self, tile: Tile, bytes_max: int) -> bytes:
        try:
            data = self.read(tile.path, bytes_max)
        except Absent as absent:
            try:
                return self.read(Tile(level=tile.level, index=tile.index).path, bytes_max)
            except Absent:
                raise absent from None
        if len(data) != tile.width * tree.HASH_BYTES:
            raise Invalid(f"{len(data)} bytes are no tile of {tile.width} hashes", where=tile.path)
        return data
