"""The shape of an Avro schema: all that a reader relies on, and nothing else. Pure.

Avro's own parsing canonical form leaves out logical types, precision, scale and defaults, all of which change what a
reader makes of the bytes. The shape keeps them, writes names in full, and leaves out words, order of attributes and our
own ``passerelle.*``: those may still be mended after a contract was published.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

Shape = Any
"""A string (a primitive or a full name), a list (a union) or a mapping, as Avro writes them."""

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
_KEPT = ("logicalType", "precision", "scale", "size", "symbols", "default", "aliases")


def shape(schema: Any, namespace: str = "") -> Shape:
    """Return the shape of a schema. Raises `KeyError` or `TypeError` for what fastavro would not parse either."""
    if isinstance(schema, str):
        return schema if schema in PRIMITIVES else full_name(schema, namespace)
    if isinstance(schema, list):
        return [shape(branch, namespace) for branch in schema]
    if not isinstance(schema["type"], str):
        return shape(schema["type"], namespace)
    return _of_mapping(schema, namespace)


def full_name(name: str, namespace: str) -> str:
    """A name with its namespace (Avro 1.12, "Names"); one with a dot has it already."""
    return name if "." in name or not namespace else f"{namespace}.{name}"


def digest(schema: Mapping[str, Any]) -> str:
    """SHA-256 of the shape, in hexadecimal: what a published schema id stands for."""
    said = json.dumps(shape(schema), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(said.encode()).hexdigest()


def _of_mapping(schema: Mapping[str, Any], namespace: str) -> Shape:
    made = {"type": schema["type"], **{key: schema[key] for key in _KEPT if key in schema}}
    if "name" in schema:
        made["name"] = full_name(schema["name"], schema.get("namespace", namespace))
        namespace = made["name"].rpartition(".")[0]
    for key in ("items", "values"):
        if key in schema:
            made[key] = shape(schema[key], namespace)
    if "fields" in schema:
        made["fields"] = [_of_field(field, namespace) for field in schema["fields"]]
    # {"type": "string"} and "string" are the same; so is a reference to a named type.
    return shape(made["type"], namespace) if made.keys() == {"type"} else made


def _of_field(field: Mapping[str, Any], namespace: str) -> Shape:
    kept = {key: field[key] for key in ("default", "aliases") if key in field}
    return {"name": field["name"], "type": shape(field["type"], namespace), **kept}
