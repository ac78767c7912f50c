"""Withhold fields of an Avro record without touching the rest of its bytes.

A withheld field is a nullable union: its bytes are replaced by its null branch, and every other byte stays as
its department wrote it (DESIGN §6). Avro 1.12, "Binary encoding".
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from passerelle_schemas.codec import HEAD_BYTES, Undecodable

Skip = Callable[[bytes, int], int]

_FIXED_WIDTH = {"null": 0, "boolean": 1, "float": 4, "double": 8}


def _read_long(data: bytes, at: int) -> tuple[int, int]:
    shift = result = 0
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit of a varint
            return (result >> 1) ^ -(result & 1), at
        shift += 7


def _skip_long(data: bytes, at: int) -> int:
    while data[at] & 0x80:
        at += 1
    return at + 1


def _skip_bytes(data: bytes, at: int) -> int:
    length, at = _read_long(data, at)
    return at + length


def _skip_fixed(width: int) -> Skip:
    return lambda _data, at: at + width


def _skip_blocks(item: Skip) -> Skip:
    """Arrays and maps: blocks of items; a negative count is followed by the block's size in bytes."""

    def skip(data: bytes, at: int) -> int:
        while True:
            count, at = _read_long(data, at)
            if count == 0:
                return at
            if count < 0:
                size, at = _read_long(data, at)
                at += size
                continue
            for _ in range(count):
                at = item(data, at)

    return skip


def _skip_union(branches: list[Skip]) -> Skip:
    def skip(data: bytes, at: int) -> int:
        branch, at = _read_long(data, at)
        return branches[branch](data, at)

    return skip


def _skip_sequence(fields: list[Skip]) -> Skip:
    def skip(data: bytes, at: int) -> int:
        for field in fields:
            at = field(data, at)
        return at

    return skip


def _skip_map_entry(value: Skip) -> Skip:
    return lambda data, at: value(data, _skip_bytes(data, at))


def _skipper(schema: Any, named: dict[str, Skip]) -> Skip:
    if isinstance(schema, list):
        return _skip_union([_skipper(branch, named) for branch in schema])
    if isinstance(schema, str):
        return _primitive(schema, named)
    return _complex(schema, named)


def _primitive(kind: str, named: Mapping[str, Skip]) -> Skip:
    if kind in _FIXED_WIDTH:
        return _skip_fixed(_FIXED_WIDTH[kind])
    if kind in ("int", "long"):
        return _skip_long
    if kind in ("bytes", "string"):
        return _skip_bytes
    return lambda data, at: named[kind](data, at)  # noqa: PLW0108 - a recursive type is named before it is made


def _complex(schema: Mapping[str, Any], named: dict[str, Skip]) -> Skip:
    kind = schema["type"]
    if kind == "record":
        skip = _skip_sequence([_skipper(f["type"], named) for f in schema["fields"]])
    elif kind == "fixed":
        skip = _skip_fixed(schema["size"])
    elif kind == "enum":
        skip = _skip_long
    elif kind == "array":
        return _skip_blocks(_skipper(schema["items"], named))
    elif kind == "map":
        return _skip_blocks(_skip_map_entry(_skipper(schema["values"], named)))
    else:
        return _skipper(kind, named)
    named[schema["name"]] = skip
    return skip


class Splicer:
    """Cuts framed values of one schema. Top-level fields only: what an agreement names is a top-level field."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """``schema`` is an Avro record as `fastavro.parse_schema` returns it (full names)."""
        named: dict[str, Skip] = {}
        self._fields: list[tuple[str, Skip]] = [
            (field["name"], _skipper(field["type"], named)) for field in schema["fields"]
        ]
        self._null = {
            field["name"]: _zigzag(field["type"].index("null"))
            for field in schema["fields"]
            if isinstance(field["type"], list) and "null" in field["type"]
        }

    def withhold(self, value: bytes, fields: Collection[str]) -> bytes:
        """Return ``value`` with each of ``fields`` overwritten by its null branch.

        Raises `Undecodable` when the bytes end early or go on too long, and `KeyError` for a field that
        cannot be null (the linter refuses such a flow before it gets here).
        """
        null = {name: self._null[name] for name in fields}
        kept: list[bytes] = []
        start = at = HEAD_BYTES
        kept.append(value[:start])
        try:
            for name, skip in self._fields:
                end = skip(value, at)
                if name in null:
                    kept += (value[start:at], null[name])
                    start = end
                at = end
        except IndexError:
            raise Undecodable("the Avro body ends early") from None
        if at != len(value):
            raise Undecodable("the Avro body ends early" if at > len(value) else "bytes after the Avro body")
        kept.append(value[start:])
        return b"".join(kept)


def _zigzag(branch: int) -> bytes:
    return bytes([branch * 2])
