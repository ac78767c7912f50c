"""What a contract must say besides being well formed: rules of one contract alone. Pure.

Each rule yields (where in the document, what is wrong).
"""

import keyword
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from passerelle_schemas.contract import Contract
from passerelle_schemas.documents import Location
from passerelle_schemas.words import Text

Problem = tuple[Location, str]
Rule = Callable[[Contract], Iterator[Problem]]

_FIELD = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_NAMESPACE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
_TYPE_NAME = re.compile(r"[A-Z][A-Za-z0-9]*")
_SYMBOL = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")
_PERSON = re.compile(r"subject|pseudonym|birth_name|family_name|given_name|social_security|^key$")

_JAVA = frozenset({
    "abstract", "boolean", "byte", "case", "catch", "char", "const", "default", "do", "double", "enum",
    "extends", "final", "float", "goto", "implements", "instanceof", "int", "interface", "long", "native",
    "new", "package", "private", "protected", "public", "short", "static", "strictfp", "super", "switch",
    "synchronized", "this", "throw", "throws", "transient", "void", "volatile"
})  # fmt: skip
"""Java's keywords that are none of Python's (JLS 21, §3.9)."""
_CODE = frozenset({"bool", "bytes", "str", "tuple", "to_avro", "from_avro"})
"""What the classes that are made of contracts mean by these words."""
RESERVED = frozenset(word.lower() for word in keyword.kwlist) | _JAVA | _CODE

LOGICAL: Mapping[str, frozenset[str]] = {
    "date": frozenset({"int"}),
    "time-millis": frozenset({"int"}),
    "time-micros": frozenset({"long"}),
    "timestamp-millis": frozenset({"long"}),
    "timestamp-micros": frozenset({"long"}),
    "local-timestamp-millis": frozenset({"long"}),
    "local-timestamp-micros": frozenset({"long"}),
    "decimal": frozenset({"bytes", "fixed"}),
    "uuid": frozenset({"string", "fixed"}),
}
"""Logical type → what it stands on (Avro 1.12); those that every client of the bus reads alike."""

RECORD_ATTRIBUTES = frozenset({"owner", "description", "compatibility", "retention", "example"})
FIELD_ATTRIBUTES = frozenset({"class", "description", "from"})


def words(contract: Contract) -> Iterator[Problem]:
    """Each field is described in French and in English, and not by the same words."""
    if contract.description.fr == contract.description.en:
        yield ("passerelle.description",), "says the same in both languages"
    for i, field in enumerate(contract.schema["fields"]):
        at = ("fields", i, "passerelle.description")
        if at[-1] not in field:
            yield at[:-1], f"{field['name']} has no passerelle.description"
            continue
        try:
            said = Text.model_validate(field[at[-1]])
        except ValidationError as exc:
            yield from ((at, ": ".join(map(str, (*error["loc"], error["msg"])))) for error in exc.errors())
        else:
            if said.fr == said.en:
                yield at, "says the same in both languages"


def attributes(contract: Contract) -> Iterator[Problem]:
    """A misspelt attribute would be passed over in silence."""
    schema = contract.schema
    yield from (((name,), "is no attribute of a contract") for name in _unknown(schema, RECORD_ATTRIBUTES))
    for i, field in enumerate(schema["fields"]):
        for name in _unknown(field, FIELD_ATTRIBUTES):
            yield ("fields", i, name), "is no attribute of a field"


def _unknown(said: Mapping[str, Any], known: frozenset[str]) -> Iterator[str]:
    return (a for a in said if a.startswith("passerelle.") and a.removeprefix("passerelle.") not in known)


def names(contract: Contract) -> Iterator[Problem]:
    """Names are of one form, so that every language can make its own of them; the record is named after its event."""
    want = "".join(part.capitalize() for part in contract.event.split("-"))
    if contract.schema["name"] != want:
        yield ("name",), f"is {contract.schema['name']}, and {contract.event} would be {want}"
    if not _NAMESPACE.fullmatch(contract.schema.get("namespace", "")):
        yield ("namespace",), "a contract has a namespace, in lower case"
    for at, record in _types(contract.schema, ()):
        if at and "name" in record and not _TYPE_NAME.fullmatch(record["name"]):
            yield (*at, "name"), f"{record['name']}: a type is named LikeThis"
        for i, field in enumerate(record.get("fields", ())):
            if not _FIELD.fullmatch(field["name"]):
                yield (*at, "fields", i, "name"), f"{field['name']}: a field is named like_this"
        for i, symbol in enumerate(record.get("symbols", ())):
            if not _SYMBOL.fullmatch(symbol):
                yield (*at, "symbols", i), f"{symbol}: a symbol is named LIKE_THIS"


def reserved(contract: Contract) -> Iterator[Problem]:
    """No name is a keyword of Python or Java."""
    for at, record in _types(contract.schema, ()):
        for i, field in enumerate(record.get("fields", ())):
            if field["name"].lower() in RESERVED:
                yield (*at, "fields", i, "name"), f"{field['name']} is a reserved word in Python or Java"


def person(contract: Contract) -> Iterator[Problem]:
    """The record's key names the person; no field does, and none repeats the key."""
    for i, name in enumerate(contract.fields):
        if _PERSON.search(name):
            yield ("fields", i, "name"), f"{name}: the record's key names the person, and no field does"


def types(contract: Contract) -> Iterator[Problem]:
    """A logical type that a reader does not know is passed over in silence (Avro 1.12, "Logical Types")."""
    for at, type_ in _types(contract.schema, ()):
        logical, base = type_.get("logicalType"), type_["type"]
        if logical is not None and logical not in LOGICAL:
            yield (*at, "logicalType"), f"{logical} is none that every reader knows: {', '.join(LOGICAL)}"
        elif logical is not None and base not in LOGICAL[logical]:
            yield (*at, "logicalType"), f"{logical} stands on {' or '.join(sorted(LOGICAL[logical]))}, not on {base}"
        elif logical == "decimal" and "scale" not in type_:
            yield (*at, "logicalType"), "a decimal says its scale"


def enum_default(contract: Contract) -> Iterator[Problem]:
    """An enum without a default can never gain a symbol: its readers could not read it."""
    for at, type_ in _types(contract.schema, ()):
        if type_["type"] == "enum":
            if "default" not in type_:
                yield at, f"{type_['name']} has no default: a reader could not take a symbol that comes later"
            elif type_["default"] not in type_["symbols"]:
                yield (*at, "default"), f"{type_['default']} is no symbol of {type_['name']}"


def nullable(contract: Contract) -> Iterator[Problem]:
    """What may be withheld is null first and null by default."""
    for i, field in enumerate(contract.schema["fields"]):
        if field["name"] not in contract.nullable:
            continue
        if field["type"][0] != "null":
            yield ("fields", i, "type"), f"{field['name']}: null is the first type of what may be withheld"
        if field.get("default", "") is not None:
            yield ("fields", i), f"{field['name']}: null is the default of what may be withheld"


def example(contract: Contract) -> Iterator[Problem]:
    """The example gives every field: what is left out shows nobody anything."""
    for name in contract.fields:
        if name not in contract.example:
            yield ("passerelle.example",), f"has no {name}"


RULES: Mapping[str, Rule] = {
    "words": words,
    "attributes": attributes,
    "names": names,
    "reserved": reserved,
    "person": person,
    "types": types,
    "enum-default": enum_default,
    "nullable": nullable,
    "example": example,
}
"""By the name that a finding bears."""


def _types(type_: Any, at: Location) -> Iterator[tuple[Location, Mapping[str, Any]]]:
    """Every type that is written out, with its place."""
    if isinstance(type_, list):
        for i, branch in enumerate(type_):
            yield from _types(branch, (*at, i))
    elif isinstance(type_, dict):
        if not isinstance(type_["type"], str):
            yield from _types(type_["type"], (*at, "type"))
            return
        yield at, type_
        for key in ("items", "values"):
            if key in type_:
                yield from _types(type_[key], (*at, key))
        for i, field in enumerate(type_.get("fields", ())):
            yield from _types(field["type"], (*at, "fields", i, "type"))
