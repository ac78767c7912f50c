"""What all values have in common: one version byte, and an Avro body. Pure."""

import io
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import fastavro

from passerelle_schemas.faults import Fault

VERSION = b"\x01"


class BadRecord(Fault):
    """A record of an internal topic that cannot be read."""


def record(name: str, **fields: Any) -> dict[str, Any]:
    """A record of these fields, by name."""
    return {"type": "record", "name": name, "fields": [{"name": n, "type": t} for n, t in fields.items()]}


def enum(name: str, kind: type[StrEnum]) -> dict[str, Any]:
    """An enumeration of these words."""
    return {"type": "enum", "name": name, "symbols": [symbol(k) for k in kind]}


def symbol(value: StrEnum) -> str:
    """Avro names have no hyphen (Avro 1.12, "Names")."""
    return value.value.replace("-", "_")


def array(items: Any) -> dict[str, Any]:
    """Any number of these."""
    return {"type": "array", "items": items}


def nullable(kind: Any) -> list[Any]:
    """This or nothing."""
    return ["null", kind]


def fixed(name: str, size: int) -> dict[str, Any]:
    """So many bytes."""
    return {"type": "fixed", "name": name, "size": size}


def encode(schema: Any, value: Mapping[str, Any], version: bytes = VERSION) -> bytes:
    """Write a value: its version, then its body."""
    out = io.BytesIO()
    out.write(version)
    fastavro.schemaless_writer(out, schema, value)
    return out.getvalue()


def decode(schema: Any, value: bytes, what: str, version: bytes = VERSION) -> dict[str, Any]:
    """Read what `encode` wrote. Raises `BadRecord`, which says ``what`` it was to be."""
    if value[:1] != version:
        raise BadRecord(f"{what}: unknown version byte")
    return read(schema, value[1:], what)


def read(schema: Any, body: bytes, what: str) -> dict[str, Any]:
    """Read a body, and nothing behind it. Raises `BadRecord`."""
    source = io.BytesIO(body)
    try:
        read: dict[str, Any] = fastavro.schemaless_reader(source, schema, None)  # type: ignore[assignment]
    except Exception as exc:  # noqa: BLE001 - fastavro raises whatever the bytes provoke
        raise BadRecord(f"{what}: {type(exc).__name__}") from None
    if source.tell() != len(body):
        raise BadRecord(f"{what}: bytes after the body")
    return read
