"""The HTTP way in as OpenAPI 3.1: every event that the department may publish with its own schema and an example.

The schemas say in JSON what `passerelle.publish.from_json` takes: days, times, decimals, bytes and UUIDs are text.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from passerelle.publish.from_json import plain
from passerelle_schemas.catalogue import Catalogue, Contract

Schema = dict[str, Any]

EXAMPLE_PSEUDONYM = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
EVENT = "EventIn"
"""The component that stands for one event."""

DESCRIPTION = """\
Events of one department, in JSON, each checked against its contract and answered once the bus has it on every replica.

**Who calls.** An access token of the scope `department`, of this department.

**Once.** A request with an `Idempotency-Key` may be repeated for 24 hours: its events are published once, and the
repeat gives the same answer. A request that failed may be sent again under its key; its events keep their ids.

**When to wait.** 429 and 503 say with `Retry-After` after how many seconds to try again. Nothing was accepted then.
"""

_TEXT: Schema = {"type": "string"}
_PRIMITIVES: Mapping[str, Schema] = {
    "null": {"type": "null"},
    "boolean": {"type": "boolean"},
    "int": {"type": "integer", "minimum": -(1 << 31), "maximum": (1 << 31) - 1},
    "long": {"type": "integer", "minimum": -(1 << 63), "maximum": (1 << 63) - 1},
    "float": {"type": "number"},
    "double": {"type": "number"},
    "string": _TEXT,
    "bytes": {**_TEXT, "contentEncoding": "base64"},
    "fixed": {**_TEXT, "contentEncoding": "base64"},
}
_LOGICAL: Mapping[str, Schema] = {
    "date": {**_TEXT, "format": "date"},
    "time-millis": {**_TEXT, "description": "A time of day in ISO 8601."},
    "time-micros": {**_TEXT, "description": "A time of day in ISO 8601."},
    "timestamp-millis": {**_TEXT, "format": "date-time"},
    "timestamp-micros": {**_TEXT, "format": "date-time"},
    "local-timestamp-millis": {**_TEXT, "description": "Day and time in ISO 8601, without an offset."},
    "local-timestamp-micros": {**_TEXT, "description": "Day and time in ISO 8601, without an offset."},
    "decimal": {**_TEXT, "pattern": r"^[+-]?[0-9]+(\.[0-9]+)?$"},
    "uuid": {**_TEXT, "format": "uuid"},
}


def with_events(document: dict[str, Any], department: str, catalogue: Catalogue) -> dict[str, Any]:
    """Put the department's events in the place of the one that may be any."""
    schemas = document["components"]["schemas"]
    envelope = schemas[EVENT]
    own = [c for c in catalogue if c.department == department and not c.derived]
    named = {_name(contract): _event(contract, envelope) for contract in own}
    if named:
        references = {name: f"#/components/schemas/{name}" for name in named}
        types = {contract.type: references[_name(contract)] for contract in own}
        schemas[EVENT] = {
            "title": EVENT,
            "description": envelope["description"],
            "oneOf": [{"$ref": reference} for reference in references.values()],
            "discriminator": {"propertyName": "type", "mapping": types},
        }
        schemas.update(named)
    return document


def value_schema(contract: Contract) -> Schema:
    """The contract's value in JSON Schema (2020-12)."""
    return _json(contract.schema, {})


def example(contract: Contract) -> dict[str, Any]:
    """The contract's example as JSON has it."""
    said: dict[str, Any] = plain(contract.decode(contract.encode(contract.example)))
    return said


def _event(contract: Contract, envelope: Schema) -> Schema:
    properties = {**envelope["properties"], "type": {"const": contract.type}, "value": value_schema(contract)}
    shown = {"type": contract.type, "pseudonym": EXAMPLE_PSEUDONYM, "value": example(contract)}
    return {
        **envelope,
        "title": _name(contract),
        "description": f"{contract.description.en} / {contract.description.fr}",
        "properties": properties,
        "examples": [shown],
    }


def _name(contract: Contract) -> str:
    """As a class of a generated client would be named."""
    words = f"{contract.department}-{contract.event}".split("-")
    return "".join(word.capitalize() for word in words) + f"V{contract.version}"


def _json(schema: Any, named: dict[str, Schema]) -> Schema:  # noqa: PLR0911 - a case for each kind of schema
    match schema:
        case list():
            return {"anyOf": [_json(branch, named) for branch in schema]}
        case {"logicalType": logical} if logical in _LOGICAL:
            return _LOGICAL[logical]
        case {"type": "array", "items": items}:
            return {"type": "array", "items": _json(items, named)}
        case {"type": "map", "values": values}:
            return {"type": "object", "additionalProperties": _json(values, named)}
        case {"type": "enum", "symbols": symbols, "name": name}:
            named[name] = {"enum": list(symbols)}
            return named[name]
        case {"type": "record", "fields": fields, "name": name}:
            named[name] = {}  # of a recursive record any object will do here: its contract says more
            named[name] = _record(fields, named)
            return named[name]
        case {"type": inner}:
            return _json(inner, named)
        case str():
            return _PRIMITIVES.get(schema) or named.get(schema.rpartition(".")[2], {})
        case _:
            return {}


def _record(fields: list[Any], named: dict[str, Schema]) -> Schema:
    return {
        "type": "object",
        "properties": {field["name"]: {**_json(field["type"], named), **dict(_said(field))} for field in fields},
        "required": [field["name"] for field in fields if "default" not in field],
        "additionalProperties": False,
    }


def _said(field: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    words = field.get("passerelle.description")
    if words:
        yield "description", f"{words['en']} / {words['fr']}"
