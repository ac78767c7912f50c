"""Publish what is integrated: tiles, bundles and last the checkpoint, into a folder that any web server can serve.

How far the folder is, its own checkpoint tells: nothing else has to be kept in step with it. So a publication that was
cut off is taken up at the next, and a folder that was taken away is written anew from the database.
"""

import fcntl
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

from passerelle_consent.ledger.audit.folder import LogFolder
from passerelle_consent.ledger.audit.published import CHECKPOINT, Absent
from passerelle_consent.ledger.database.reader import Head
from passerelle_consent.ledger.faults import Invalid
from passerelle_consent.ledger.integrator.files import File, Files, sync
from passerelle_consent.ledger.log import tiles, tree
from passerelle_consent.ledger.log.checkpoint import Checkpoint
from passerelle_consent.ledger.log.note import Note, SignatureLine, Verifier
from passerelle_consent.ledger.log.tiles import TILE_HEIGHT, TILE_WIDTH, Tile
from passerelle_schemas.faults import Fault


class PublishFault(Fault):
    """The folder cannot be written now. Nothing is lost: the next publication takes it up."""


FILES_AT_ONCE = 128
"""Some 20 MB of bundles and tiles."""


class Source(Protocol):
    """What is published: the database's own state."""

    def tile(self, level: int, index: int) -> bytes:
        """Hashes of a tile."""

    def bodies(self, start: int, end: int) -> Sequence[bytes]:
        """Entries ``[start, end)`` in order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JustCommitted:
    """A state of the database of which what came last is at hand: it need not be read back."""

    reader: Source
    start: int
    fresh: Sequence[bytes]
    """Entries from ``start`` on."""
    tiles: Mapping[tuple[int, int], bytes]
    """Those that are new or have grown with them, by level and index."""

    def tile(self, level: int, index: int) -> bytes:
        """Hashes of a tile."""
        return self.tiles.get((level, index)) or self.reader.tile(level, index)

    def bodies(self, start: int, end: int) -> Sequence[bytes]:
        """Entries ``[start, end)`` in order."""
        if start < self.start:
            return self.reader.bodies(start, end)
        return self.fresh[start - self.start : end - self.start]


class Publisher(Protocol):
    """Where checkpoints go."""

    def publish(self, source: Source, head: Head) -> None:
        """Make ``head`` and all that it needs public; may be called again with the same."""


class FolderPublisher:
    """A folder, and beside it a staging folder on the same file system, which holds drafts and a lock."""

    def __init__(self, folder: Path, verifier: Verifier) -> None:
        self._folder = folder
        self._staging = folder.with_name(f".{folder.name}.staging")
        self._verifier = verifier
        self._files = Files(str(folder), str(self._staging))
        self._published: Checkpoint | None = None
        self._mutex = threading.Lock()  # cosignatures come in on threads of their own

    def publish(self, source: Source, head: Head) -> None:
        """Raises `PublishFault`; `Invalid` when the folder holds a history that the database does not have."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._staging.mkdir(exist_ok=True)
            with self._mutex, self._locked():
                before = self._agreed(source, head.checkpoint)
                if before == head.checkpoint:
                    os.utime(self._folder / CHECKPOINT)  # nothing new, and alive: a monitor tells it from the time
                    return
                since = before.size if before else 0
                self._write_tiles(source, head.checkpoint.size, since)
                self._files.replace((CHECKPOINT, head.note))
                sync(self._folder)
                self._published = head.checkpoint
                self._drop_outgrown(head.checkpoint.size, since)
        except OSError as exc:
            raise PublishFault(f"cannot be written ({exc.strerror})", where=str(exc.filename or self._folder)) from None

    def add(self, checkpoint: Checkpoint, line: SignatureLine) -> bool:
        """Add a cosignature to the published checkpoint; False when that is another by now. Raises `PublishFault`."""
        try:
            with self._mutex, self._locked():
                note = Note.parse((self._folder / CHECKPOINT).read_bytes())
                if note.text != checkpoint.text():
                    return False
                others = (s for s in note.signatures if (s.name, s.key_id) != (line.name, line.key_id))
                self._files.replace((CHECKPOINT, Note(text=note.text, signatures=(*others, line)).encode()))
                return True
        except OSError as exc:
            raise PublishFault(f"cannot be written ({exc.strerror})", where=str(exc.filename or self._folder)) from None

    def write_key(self) -> Path:
        """Write the verifier key beside the folder, ``<folder>.vkey``, and return its path."""
        path = self._folder.with_name(f"{self._folder.name}.vkey")
        self._staging.mkdir(parents=True, exist_ok=True)
        draft = self._files.draft("vkey", f"{self._verifier.encode()}\n".encode())
        Path(draft).replace(path)
        return path

    def _agreed(self, source: Source, current: Checkpoint) -> Checkpoint | None:
        """Return the folder's checkpoint, once it is shown to be of this history."""
        log = LogFolder(self._folder)
        try:
            published, _ = log.checkpoint(self._verifier)
        except Absent:
            return None
        if published == self._published:
            return published
        hint = f"an older database was restored? move {self._folder} away only if you know why"
        if published.size > current.size:
            raise Invalid("is ahead of the database", where=f"{self._folder}/{CHECKPOINT}", hint=hint)
        if tree.root(published.size, tiles.source_of(source.tile)) != published.root:
            raise Invalid("is not of the database's history", where=f"{self._folder}/{CHECKPOINT}", hint=hint)
        return published

    def _write_tiles(self, source: Source, size: int, since: int) -> None:
        """Names, too, are on disk before the checkpoint that needs them."""
        for some in _batched(_files(source, size, since)):
            self._files.write(some)

    def _drop_outgrown(self, size: int, since: int) -> None:
        """Remove partial tiles whose full tile is published (tlog-tiles, "Partial Tiles", allows it)."""
        levels: list[int | None] = [None, *range(tiles.LEVELS)]
        for level in levels:
            index = (since >> TILE_HEIGHT * (level or 0)) // TILE_WIDTH
            if index < (size >> TILE_HEIGHT * (level or 0)) // TILE_WIDTH:
                partials = (self._folder / Tile(level=level, index=index, width=1).path).parent
                if partials.is_dir():
                    for partial in partials.iterdir():
                        partial.unlink()
                    partials.rmdir()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One publisher at a time. It dies with its process; a stopped one lets the others wait, not overtake."""
        with (self._staging / "lock").open("wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise PublishFault("another integrator is publishing", where=str(self._folder)) from None
            yield


def _files(source: Source, size: int, since: int) -> Iterator[File]:
    """Yield (path, bytes) of what a tree of ``size`` has and a tree of ``since`` had not."""
    for bundle in tiles.bundles(size, since):
        yield bundle.path, tiles.pack(source.bodies(bundle.start, bundle.start + bundle.width))
    for tile in tiles.hash_tiles(size, since):
        assert tile.level is not None, "hash_tiles yields no bundles"  # noqa: S101 - an invariant, for mypy
        yield tile.path, source.tile(tile.level, tile.index)[: tile.width * tree.HASH_BYTES]


def _batched(files: Iterator[File]) -> Iterator[list[File]]:
    """A folder that is written anew from ten million entries must not be held in memory."""
    while some := list(islice(files, FILES_AT_ONCE)):
        yield some
