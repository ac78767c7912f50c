"""An entry of a join's log: what a re-key hop wrote, cut down to the fields that the join declares.

Wire (big-endian): version 1, side, outbox partition, outbox offset, time of the event, time of its append to the outbox
(both ms since 1970), shape of the body; then the Avro body. The key of the record is the subject ref.
"""

import hashlib
import io
import json
import struct
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import fastavro

from passerelle_schemas.catalogue import Contract
from passerelle_schemas.faults import Fault

VERSION = 1
SHAPE_BYTES = 8
_WIRE = struct.Struct(f">BBiqqq{SHAPE_BYTES}s")
_HELD = struct.Struct(f">Biqqqq{SHAPE_BYTES}sI")


class BadEntry(Fault):
    """A record of a join's log that is no entry of this join as it is declared now."""


class Entry(NamedTuple):
    """One input of a join (a plain tuple: there is one for every record)."""

    side: int
    partition: int
    """Of the outbox record; with ``offset`` and the side's topic it is the origin of what this entry triggers."""
    offset: int
    occurred_ms: int
    outbox_ms: int
    shape: bytes
    body: bytes
    at_ms: int
    """Append time to the join's log: decides how long the entry is held (DESIGN §5a, rule 6)."""

    @property
    def order(self) -> tuple[int, int]:
        """Newest wins. An event cannot have happened after it was recorded: a clock set wrong must not win for ever.

        Two entries of one subject and side stem from one outbox partition (same key), so offsets break ties.
        """
        return self.happened_ms, self.offset

    @property
    def happened_ms(self) -> int:
        """Time of the event, but not later than that of its append to the outbox."""
        return min(self.occurred_ms, self.outbox_ms)


class Shape:
    """The declared fields of one side: an Avro projection of its contract, and that projection's fingerprint."""

    def __init__(self, contract: Contract, fields: Iterable[str]) -> None:
        kept = set(fields)
        specs = [f for f in contract.schema["fields"] if f["name"] in kept]
        schema = {"type": "record", "name": "Held", "fields": [{"name": f["name"], "type": f["type"]} for f in specs]}
        self.fields = frozenset(kept)
        self.fingerprint = hashlib.sha256(json.dumps([contract.type, schema], sort_keys=True).encode()).digest()[
            :SHAPE_BYTES
        ]
        self._parsed = fastavro.parse_schema(schema)

    def encode(self, value: Mapping[str, Any]) -> bytes:
        """Avro body of the declared fields of ``value``."""
        out = io.BytesIO()
        fastavro.schemaless_writer(out, self._parsed, {name: value[name] for name in self.fields})
        return out.getvalue()

    def decode(self, body: bytes) -> Mapping[str, Any]:
        """Raises `BadEntry`."""
        try:
            read: dict[str, Any] = fastavro.schemaless_reader(io.BytesIO(body), self._parsed, None)  # type: ignore[assignment]
        except Exception as exc:  # noqa: BLE001 - fastavro raises whatever the bytes provoke
            raise BadEntry(f"not the declared fields: {type(exc).__name__}") from None
        return read


def encode(entry: Entry) -> bytes:
    """Value of a join log's record; ``at_ms`` is the broker's to say."""
    head = (VERSION, entry.side, entry.partition, entry.offset, entry.occurred_ms, entry.outbox_ms, entry.shape)
    return _WIRE.pack(*head) + entry.body


def decode(value: bytes | None, at_ms: int) -> Entry:
    """Raises `BadEntry`."""
    if value is None or len(value) < _WIRE.size or value[0] != VERSION:
        raise BadEntry("not an entry of version 1")
    _, side, partition, offset, occurred_ms, outbox_ms, shape = _WIRE.unpack_from(value)
    return Entry(side, partition, offset, occurred_ms, outbox_ms, shape, value[_WIRE.size :], at_ms)


def pack(entries: Iterable[Entry]) -> bytes:
    """Entries as a store keeps them."""
    return b"".join(
        _HELD.pack(e.side, e.partition, e.offset, e.occurred_ms, e.outbox_ms, e.at_ms, e.shape, len(e.body)) + e.body
        for e in entries
    )


def packed_bytes(entries: Iterable[Entry]) -> int:
    """How long `pack` makes them."""
    return sum(_HELD.size + len(e.body) for e in entries)


def unpack(packed: bytes) -> list[Entry]:
    """What `pack` made."""
    entries, at = [], 0
    while at < len(packed):
        side, partition, offset, occurred, outboxed, held, shape, size = _HELD.unpack_from(packed, at)
        at += _HELD.size
        entries.append(Entry(side, partition, offset, occurred, outboxed, shape, packed[at : at + size], held))
        at += size
    return entries
