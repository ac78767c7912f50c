"""Whether a new version of an event breaks its readers: Apache Avro's own checker, and what it does not see.

The promise that counts is the one that the version before made (`Mode`). Versions of one event share a topic, so that
readers meet both.
"""

import json
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any, cast
from warnings import catch_warnings, simplefilter

import avro.schema
from avro.compatibility import (
    ReaderWriterCompatibilityChecker,
    SchemaCompatibilityResult,
    SchemaCompatibilityType,
    SchemaIncompatibilityType,
)
from avro.errors import AvroException, IgnoredLogicalType

from passerelle_schemas.contract import Contract, Mode
from passerelle_schemas.documents import Location
from passerelle_schemas.drift import drift
from passerelle_schemas.faults import Fault
from passerelle_schemas.shape import full_name, shape

Break = tuple[Location, str]
"""Where in the new contract, and what is wrong."""

Schema = Mapping[str, Any]

_SAID = {
    SchemaIncompatibilityType.name_mismatch: "another name",
    SchemaIncompatibilityType.fixed_size_mismatch: "another size",
    SchemaIncompatibilityType.missing_enum_symbols: "symbols that the reader does not know, and no default for them",
    SchemaIncompatibilityType.reader_field_missing_default_value: "not written, and without a default for the reader",
    SchemaIncompatibilityType.type_mismatch: "another type",
    SchemaIncompatibilityType.missing_union_branch: "a branch that the reader's union lacks",
}


class NotAvro(Fault):
    """Apache Avro's parser refuses the schema, which fastavro may have let pass."""


def breaks_of(older: Contract, newer: Contract) -> Iterator[Break]:
    """Yield what the newer version breaks of the older one's promise. Raises `NotAvro`."""
    if newer.compatibility is not older.compatibility and _weaker(newer.compatibility, older.compatibility):
        at = ("passerelle.compatibility",)
        yield at, f"promises {newer.compatibility}, and v{older.version} promised {older.compatibility}"
    labels = (f"v{older.version}", f"v{newer.version}")
    yield from breaks(older.schema, newer.schema, older.compatibility, labels=labels)


def breaks(older: Schema, newer: Schema, mode: Mode, *, labels: tuple[str, str] = ("old", "new")) -> Iterator[Break]:
    """Yield what a newer schema breaks under a mode. Raises `NotAvro`."""
    if mode is Mode.NONE:
        return
    was, is_ = labels
    if mode in (Mode.BACKWARD, Mode.FULL):
        yield from ((_at(newer, name), f"{is_} cannot read {was}: {what}") for name, what in _unread(newer, older))
    if mode in (Mode.FORWARD, Mode.FULL):
        yield from ((_at(newer, name), f"{was} cannot read {is_}: {what}") for name, what in _unread(older, newer))
    names = [full_name(schema["name"], schema.get("namespace", "")) for schema in (older, newer)]
    if names[0] != names[1]:
        yield ("name",), f"is {names[1]}, and {was} is {names[0]}: an event keeps its full name"
    yield from ((_at(newer, name), what) for name, what in drift(shape(older), shape(newer)))


def parsed(schema: Schema) -> avro.schema.RecordSchema:
    """The schema as Apache Avro reads it. Raises `NotAvro`."""
    try:
        with catch_warnings():
            simplefilter("ignore", IgnoredLogicalType)  # a rule of ours tells it, with its line
            return cast("avro.schema.RecordSchema", avro.schema.parse(json.dumps(schema)))
    except Exception as exc:  # noqa: BLE001 - of what is no schema, the parser raises whatever it meets
        raise NotAvro(f"not an Avro schema: {exc if isinstance(exc, AvroException) else type(exc).__name__}") from None


def _unread(reader: Schema, writer: Schema) -> Iterator[tuple[str | None, str]]:
    """(field, why) for each field of the reader that Avro's checker refuses."""
    reads, writes = parsed(reader), parsed(writer)
    found = False
    for field in reads.fields:
        # Field by field: of the whole, the checker tells places and reasons in two sets, and not which is whose.
        alone = cast("avro.schema.RecordSchema", SimpleNamespace(fields=[field]))
        result = _checker().check_reader_writer_record_fields(alone, writes, [])
        if result.compatibility is SchemaCompatibilityType.incompatible:
            found = True
            yield field.name, f"{field.name}: {_why(result)}"
    whole = _checker().get_compatibility(reads, writes)
    named = set(whole.incompatibilities) == {SchemaIncompatibilityType.name_mismatch}
    if whole.compatibility is SchemaCompatibilityType.incompatible and not found and not named:
        yield None, _why(whole)


def _checker() -> ReaderWriterCompatibilityChecker:
    """A new one for each question: it remembers pairs of schemas by their place in memory."""
    return ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]  # its constructor is the one untyped part


def _why(result: SchemaCompatibilityResult) -> str:
    kinds = ", ".join(dict.fromkeys(_SAID[kind] for kind in result.incompatibilities))
    return f"{kinds} ({'; '.join(sorted(result.messages))})"


def _at(schema: Schema, name: str | None) -> Location:
    """Where a field stands in a schema; the schema itself when it is not there."""
    return next((("fields", i, "name") for i, field in enumerate(schema["fields"]) if field["name"] == name), ())


def _weaker(mode: Mode, than: Mode) -> bool:
    kept = {Mode.NONE: set(), Mode.BACKWARD: {"back"}, Mode.FORWARD: {"forth"}, Mode.FULL: {"back", "forth"}}
    return not kept[mode] >= kept[than]
