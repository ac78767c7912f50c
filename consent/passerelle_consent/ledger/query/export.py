"""Exports: entries in a file of rows, and beside it what proves that they are in the log.

The proof names the checkpoint, what was asked for and between which places, and has the hashes of all that was left
out (`cover`). Whoever has the log's key checks both alone: every row is an entry that was signed, in its place. When
nothing was left out between two places, that is shown as well; that a filter left out nothing that it should not have,
only the entries show.
"""

import base64
import binascii
import json
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import islice
from types import ModuleType
from typing import IO, Self

from passerelle_consent.ledger.audit.published import PublishedLog
from passerelle_consent.ledger.faults import Invalid, Unclear
from passerelle_consent.ledger.log import tree
from passerelle_consent.ledger.log.canonical import canonical
from passerelle_consent.ledger.log.checkpoint import Checkpoint, open_checkpoint
from passerelle_consent.ledger.log.cover import Leaf, cover, covered_root
from passerelle_consent.ledger.log.entries import Entry
from passerelle_consent.ledger.log.note import NOTE_BYTES_MAX, Verifier
from passerelle_consent.ledger.log.tiles import TILE_WIDTH, Tile
from passerelle_consent.ledger.query.formats import READERS, WRITERS, Row, Writer
from passerelle_consent.ledger.query.select import Selection

MAGIC = "passerelle/ledger/export@v1"
FORMATS = ("jsonl", "csv", "parquet")

ROWS_AT_ONCE = 1_024
"""Half a megabyte of entries, written in some 5 ms: a service's other threads wait no longer for the interpreter."""

HASHES_AT_ONCE = 4_096

HEAD_LINE_BYTES_MAX = 2 * NOTE_BYTES_MAX

_PLACES = re.compile(r"(0|[1-9][0-9]{0,18}) (0|[1-9][0-9]{0,18})")
_COUNT = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """What the proof of an export says of it, besides the hashes."""

    note: bytes
    """The signed checkpoint."""
    format: str
    asked: Selection
    start: int
    end: int
    """Between which places was looked, [start, end)."""
    entries: int

    @property
    def whole(self) -> bool:
        """Whether everything between the places was asked for."""
        return not self.asked.plain()

    def encode(self) -> bytes:
        """Return the lines before the hashes."""
        note = base64.b64encode(self.note).decode()
        asked = canonical(self.asked.plain()).decode()
        lines = [MAGIC, f"checkpoint {note}", f"format {self.format}", f"asked {asked}"]
        return "\n".join([*lines, f"places {self.start} {self.end}", f"entries {self.entries}", "", ""]).encode()

    @classmethod
    def read(cls, file: IO[bytes]) -> Self:
        """Read the lines before the hashes. Raises `Invalid` for what is not spelt as `encode` does."""
        lines = [file.readline(HEAD_LINE_BYTES_MAX) for _ in range(7)]
        try:
            magic, *said = [line.decode("ascii").removesuffix("\n") for line in lines]
            words = [line.partition(" ")[2] for line in said]
            places = _PLACES.fullmatch(words[3])
            if magic != MAGIC or places is None or not _COUNT.fullmatch(words[4]):
                raise Invalid("is no proof of an export")
            head = cls(
                note=base64.b64decode(words[0], validate=True),
                format=words[1],
                asked=Selection.of_plain(json.loads(words[2])),
                start=int(places[1]),
                end=int(places[2]),
                entries=int(words[4]),
            )
        except (UnicodeDecodeError, ValueError, AttributeError, binascii.Error):
            raise Invalid("is no proof of an export") from None
        if head.encode() != b"".join(lines):
            raise Invalid("is not in its canonical form")
        return head


@dataclass(kw_only=True, slots=True)
class Export:
    """One export as it is written: the rows, then their proof. Each step writes a bounded part."""

    log: PublishedLog
    verifier: Verifier
    asked: Selection
    format: str
    start: int = 0
    end: int | None = None
    checkpoint: Checkpoint = field(init=False)
    _note: bytes = field(init=False)
    _places: "array[int]" = field(init=False)
    """Eight bytes for each entry: what grows with an export."""

    def __post_init__(self) -> None:
        """Raises `Invalid`, `Unclear`."""
        self.checkpoint, self._note = self.log.checkpoint(self.verifier)
        self._places = array("q")

    @property
    def stop(self) -> int:
        """Before which place is looked."""
        size = self.checkpoint.size
        return size if self.end is None else min(self.end, size)

    def write(self, rows: Iterator[Row], file: IO[bytes]) -> Iterator[None]:
        """Write the rows. Raises `Invalid`, `Unclear`."""
        writer = writer_of(self.format, file)
        while some := list(islice(rows, ROWS_AT_ONCE)):
            writer.write(some)
            self._places.extend(index for index, _ in some)
            yield
        writer.close()
        yield

    def prove(self, file: IO[bytes]) -> Iterator[None]:
        """Write the proof of what was written. Raises `Invalid`, `Unclear`."""
        head = Head(
            note=self._note,
            format=self.format,
            asked=self.asked,
            start=min(self.start, self.stop),
            end=self.stop,
            entries=len(self._places),
        )
        file.write(head.encode())
        size = self.checkpoint.size
        hashes = cover(self._places, size, self.log.source(size))
        while some := list(islice(hashes, HASHES_AT_ONCE)):
            file.write(b"".join(base64.b64encode(h) + b"\n" for h in some))
            yield

    def found(self) -> Iterator[Row]:
        """Yield the entries that are asked for, by reading all between the places. Raises `Invalid`, `Unclear`."""
        for index, raw in entries_of(self.log, self.checkpoint.size, range(self.start, self.stop)):
            if self.asked.may_match(raw) and (not self.asked.plain() or self.asked.matches(Entry.parse(raw))):
                yield index, raw

    def read(self, places: Sequence[int]) -> Iterator[Row]:
        """Yield the entries at these places, ascending."""
        return entries_of(self.log, self.checkpoint.size, places)


def entries_of(log: PublishedLog, size: int, places: Iterable[int]) -> Iterator[Row]:
    """Yield entries of a log of ``size``; those of one bundle are read together. Raises `Invalid`, `Unclear`."""
    at, bundle = -1, list[bytes]()
    for place in places:
        number, offset = divmod(place, TILE_WIDTH)
        if number != at:
            width = min(TILE_WIDTH, size - number * TILE_WIDTH)
            at, bundle = number, log.bundle(Tile(level=None, index=number, width=width))
        yield place, bundle[offset]


def available() -> frozenset[str]:
    """Return the formats whose libraries are installed."""
    return frozenset({*WRITERS, *(("parquet",) if find_spec("pyarrow") else ())})


def writer_of(format_: str, file: IO[bytes]) -> Writer:
    """Return a format's writer. Raises `Unclear` when its library is not installed."""
    if format_ == "parquet":
        writer: Writer = _parquet().Parquet(file)
        return writer
    return WRITERS[format_](file)


@dataclass(frozen=True, kw_only=True, slots=True)
class Verified:
    """An export that holds: its entries are the log's, in their places."""

    head: Head
    checkpoint: Checkpoint


def verify_export(data: IO[bytes], proof: IO[bytes], verifier: Verifier) -> Verified:
    """Check an export alone: rows, proof and key. Raises `Invalid`, `Unclear`."""
    head = Head.read(proof)
    checkpoint = open_checkpoint(head.note, verifier)
    if not head.start <= head.end <= checkpoint.size:
        raise Invalid(f"places {head.start} to {head.end} are not in a log of {checkpoint.size}")
    counted = _Counted(head=head)
    root = covered_root(counted.leaves(_read(head.format, data)), checkpoint.size, _hashes(proof))
    if root != checkpoint.root:
        raise Invalid("the entries are not those that were signed")
    if counted.entries != head.entries or (head.whole and counted.entries != head.end - head.start):
        raise Invalid(f"{counted.entries} entries, of {head.entries} that were exported")
    return Verified(head=head, checkpoint=checkpoint)


@dataclass(kw_only=True, slots=True)
class _Counted:
    head: Head
    entries: int = 0

    def leaves(self, rows: Iterable[Row]) -> Iterator[Leaf]:
        """Yield the leaves of rows that were asked for."""
        for index, raw in rows:
            if not self.head.start <= index < self.head.end:
                raise Invalid(f"entry {index} is not between the places {self.head.start} and {self.head.end}")
            if not self.head.whole and not self.head.asked.matches(Entry.parse(raw)):
                raise Invalid(f"entry {index} was not asked for")
            self.entries += 1
            yield index, tree.leaf_hash(raw)


def _read(format_: str, data: IO[bytes]) -> Iterator[Row]:
    if format_ == "parquet":
        rows: Iterator[Row] = _parquet().read_parquet(data)
        return rows
    if format_ not in READERS:
        raise Unclear(f"nobody here reads the format {format_!r}")
    return READERS[format_](data)


def _hashes(proof: IO[bytes]) -> Iterator[bytes]:
    for line in iter(lambda: proof.readline(64), b""):
        try:
            hash_ = base64.b64decode(line.removesuffix(b"\n"), validate=True)
        except binascii.Error:
            hash_ = b""
        if len(hash_) != tree.HASH_BYTES or base64.b64encode(hash_) + b"\n" != line:
            raise Invalid("its proof holds a line that is no hash")
        yield hash_


def _parquet() -> ModuleType:
    try:
        from passerelle_consent.ledger.query import parquet
    except ImportError:
        raise Unclear("Parquet is not installed", hint="pip install passerelle[parquet]") from None
    return parquet
