"""Read Kafka's log segments from the broker's own files: which transaction a record belonged to, and where it ended.

A parser of its own for record batches of magic 2 (Apache Kafka documentation, "Record Batch" and "Control Records").
No client can tell the offset of a commit marker; the file can.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

# baseOffset, batchLength, partitionLeaderEpoch, magic, crc, attributes, lastOffsetDelta, baseTimestamp, maxTimestamp,
# producerId, producerEpoch, baseSequence, count of records.
_HEAD = struct.Struct(">qiibIhiqqqhii")
_LENGTH_FROM = 12  # batchLength counts from the byte after itself
_TRANSACTIONAL, _CONTROL, _COMPRESSION = 0x10, 0x20, 0x07
_ABORT, _COMMIT = 0, 1
_OFFSET_COMMIT_KEYS = (0, 1)


class Unparsable(Exception):
    """The file holds what this parser does not know."""


class Record(NamedTuple):
    """One record of a batch."""

    key: bytes | None
    value: bytes | None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One record batch, its records still packed."""

    first: int
    last: int
    producer: int
    attributes: int
    body: bytes
    count: int

    @property
    def transactional(self) -> bool:
        return bool(self.attributes & _TRANSACTIONAL)

    @property
    def control(self) -> bool:
        return bool(self.attributes & _CONTROL)

    def records(self) -> Iterator[Record]:
        """Raises `Unparsable` when the batch is compressed."""
        if self.attributes & _COMPRESSION:
            raise Unparsable(f"the batch at offset {self.first} is compressed")
        at = 0
        for _ in range(self.count):
            length, at = _varint(self.body, at)
            yield _record(self.body, at)
            at += length

    def ends_with(self) -> int | None:
        """What a control batch says: 1 commit, 0 abort; None for another kind of control record."""
        key = next(self.records()).key or b""
        _, kind = struct.unpack_from(">hh", key)
        return kind if kind in (_ABORT, _COMMIT) else None


@dataclass(frozen=True, kw_only=True)
class Span:
    """Records ``first`` to ``last`` of one partition belong to a transaction that ended here at ``marker``."""

    first: int
    last: int
    marker: int
    committed: bool


class Commit(NamedTuple):
    """Offsets that a group stored together: (topic, partition) → offset."""

    group: str
    offsets: dict[tuple[str, int], int]


def batches(folder: Path) -> Iterator[Batch]:
    """All batches of one partition's folder, in offset order. A batch that is still being written ends the reading."""
    for path in sorted(folder.glob("*.log")):
        data = path.read_bytes()
        at = 0
        while at + _HEAD.size <= len(data):
            base, length, _, magic, _, attributes, delta, _, _, producer, _, _, count = _HEAD.unpack_from(data, at)
            end = at + _LENGTH_FROM + length
            if length <= 0 or end > len(data):
                break
            if magic != 2:
                raise Unparsable(f"{path.parent.name}: magic {magic} at offset {base}")
            yield Batch(
                first=base,
                last=base + delta,
                producer=producer,
                attributes=attributes,
                body=data[at + _HEAD.size : end],
                count=count,
            )
            at = end


def spans(folder: Path) -> list[Span]:
    """Ended transactions of one partition, by offset. Those still open are not among them."""
    pending: dict[int, list[Batch]] = {}
    ended: list[Span] = []
    for batch in batches(folder):
        if batch.control:
            kind = batch.ends_with()
            data = pending.pop(batch.producer, []) if kind is not None else []
            ended += [Span(first=d.first, last=d.last, marker=batch.first, committed=kind == _COMMIT) for d in data]
        elif batch.transactional:
            pending.setdefault(batch.producer, []).append(batch)
    return sorted(ended, key=lambda s: s.first)


def commits(data: Path, group: str) -> Iterator[Commit]:
    """What ``group`` stored in `__consumer_offsets`, in commit order: by transactions, and also beside them."""
    for folder in sorted(data.glob("__consumer_offsets-*")):
        yield from _commits(folder, group)


def _commits(folder: Path, group: str) -> Iterator[Commit]:
    pending: dict[int, dict[tuple[str, int], int]] = {}
    for batch in batches(folder):
        if batch.control:
            kind = batch.ends_with()
            offsets = pending.pop(batch.producer, {}) if kind is not None else {}
            if offsets and kind == _COMMIT:
                yield Commit(group, offsets)
            continue
        offsets = dict(_offsets(batch, group))
        if batch.transactional:
            pending.setdefault(batch.producer, {}).update(offsets)
        elif offsets:
            yield Commit(group, offsets)


def _offsets(batch: Batch, group: str) -> Iterator[tuple[tuple[str, int], int]]:
    """The offsets of one batch; keys of other kinds, other groups and tombstones are passed over."""
    for record in batch.records():
        key, value = record
        if key is None or value is None or int.from_bytes(key[:2], "big") not in _OFFSET_COMMIT_KEYS:
            continue
        name, at = _text(key, 2)
        topic, at = _text(key, at)
        if name == group:
            partition = int.from_bytes(key[at : at + 4], "big")
            yield (topic, partition), int.from_bytes(value[2:10], "big", signed=True)


def _text(data: bytes, at: int) -> tuple[str, int]:
    length = int.from_bytes(data[at : at + 2], "big")
    return data[at + 2 : at + 2 + length].decode(), at + 2 + length


def _record(body: bytes, at: int) -> Record:
    at += 1  # attributes
    _, at = _varint(body, at)  # timestamp delta
    _, at = _varint(body, at)  # offset delta
    key, at = _bytes(body, at)
    value, at = _bytes(body, at)
    return Record(key, value)


def _bytes(body: bytes, at: int) -> tuple[bytes | None, int]:
    length, at = _varint(body, at)
    return (None, at) if length < 0 else (body[at : at + length], at + length)


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """Zig-zag, seven bits a byte, the least significant first."""
    shift = result = 0
    while True:
        byte = body[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (result >> 1) ^ -(result & 1), at
        shift += 7
