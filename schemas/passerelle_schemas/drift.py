"""What changed between two versions of a contract that Avro's resolution does not see, and readers do. Pure.

Avro resolves the bytes and ignores what they mean: microseconds read as milliseconds, cents as tenths, a symbol that is
gone as the default. These are told as (field, what is wrong).
"""

from collections.abc import Iterator
from typing import Any

from passerelle_schemas.shape import Shape

Drift = tuple[str, str]


def drift(older: Shape, newer: Shape) -> Iterator[Drift]:
    """Yield what the newer shape of a record means differently, by the newer field's name."""
    before = {field["name"]: field for field in older["fields"]}
    for field in newer["fields"]:
        known = next((before[name] for name in (field["name"], *field.get("aliases", ())) if name in before), None)
        if known is not None:
            yield from ((field["name"], what) for what in _of_type(known["type"], field["type"]))


def _of_type(older: Shape, newer: Shape) -> Iterator[str]:
    if _nullable(older) and not _nullable(newer):
        yield "could be null and cannot any more: what was withheld has no value to take"
    old, new = _mapping(_not_null(older)), _mapping(_not_null(newer))
    yield from _of_meaning(old, new)
    yield from _of_names(old, new)
    if old.get("type") == new.get("type") == "enum":
        for symbol in old["symbols"]:
            if symbol not in new["symbols"]:
                yield f"symbol {symbol} is gone: what was written with it would be read as {new.get('default')}"
    for inner in ("items", "values"):
        if inner in old and inner in new:
            yield from _of_type(old[inner], new[inner])
    if "fields" in old and "fields" in new:
        yield from (f"{name}: {what}" for name, what in drift(old, new))


def _of_meaning(old: Shape, new: Shape) -> Iterator[str]:
    was, is_ = old.get("logicalType"), new.get("logicalType")
    if was != is_:
        yield f"is {is_ or 'a plain number or text'} and was {was or 'plain'}: the bytes stay, the meaning does not"
    elif was == "decimal":
        if old.get("scale", 0) != new.get("scale", 0):
            yield f"has scale {new.get('scale', 0)} and had {old.get('scale', 0)}: every amount would be another"
        if new["precision"] < old["precision"]:
            yield f"has precision {new['precision']} and had {old['precision']}: what was written may not fit"
    if {old.get("type"), new.get("type")} == {"string", "bytes"}:
        yield f"is {new['type']} and was {old['type']}: Avro reads one as the other, programs do not"


def _of_names(old: Shape, new: Shape) -> Iterator[str]:
    """Avro's checker compares names without their namespaces; code generated from them does not."""
    if old.get("name") and new.get("name") and old["name"] != new["name"]:
        yield f"is named {new['name']} and was {old['name']}"


def _nullable(shape: Shape) -> bool:
    return shape == "null" or (isinstance(shape, list) and "null" in shape)


def _not_null(shape: Shape) -> Shape:
    """The one branch beside null; a union of several is compared by Avro's checker alone."""
    branches = [branch for branch in shape if branch != "null"] if isinstance(shape, list) else [shape]
    return branches[0] if len(branches) == 1 else "union"


def _mapping(shape: Shape) -> dict[str, Any]:
    return shape if isinstance(shape, dict) else {"type": shape}
