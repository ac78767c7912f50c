"""JSON to the values of a contract, and back: what a database or a web client can say, as Avro's types want it.

JSON has no dates, decimals or bytes. They travel as text: ISO 8601 days and times with their offset, decimal notation,
base64. Everything else is as JSON has it; what fits no type is named by its field, never by what stood there.
"""

import base64
import binascii
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any
from uuid import UUID

import fastavro

from passerelle_schemas.catalogue import Contract
from passerelle_schemas.codec import Undecodable

ERRORS_MAX = 20
"""Wrong fields that are named; a record of which more are wrong is of another contract."""

CONTRACTS_HELD = 1_000
"""More than a department has."""

Convert = Callable[[Any], Any]
"""JSON's value to Avro's. Raises `ValueError`, `TypeError`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BadField:
    """One field that does not fit. ``path`` leads to it: names of the contract and places, ``?`` for a name unknown."""

    path: tuple[str | int, ...]
    what: str

    def __str__(self) -> str:
        """For a log or a dead letter."""
        return f"field {'.'.join(map(str, self.path))}: {self.what}" if self.path else self.what


class Misfit(Exception):
    """A document that is no value of its contract."""

    def __init__(self, *errors: BadField) -> None:
        super().__init__("; ".join(map(str, errors)))
        self.errors = errors


def encoded(contract: Contract, document: Any) -> bytes:
    """Return the framed Avro value of a parsed JSON document. Raises `Misfit`: it names the fields that are wrong."""
    value, errors = _converted(contract, document)
    if errors:
        wrong = {error.path for error in errors}
        raise Misfit(*[*errors, *(e for e in _misfits(contract, value) if e.path not in wrong)][:ERRORS_MAX])
    try:
        return contract.encode(value)
    except (Undecodable, ValueError, TypeError, OverflowError):
        found = tuple(_misfits(contract, value))
        raise Misfit(*found or (BadField(path=(), what="does not fit its contract"),)) from None


def converted(contract: Contract, document: Any) -> dict[str, Any]:
    """Return the value with its dates, decimals and bytes as such. Raises `Misfit`."""
    value, errors = _converted(contract, document)
    if errors:
        raise Misfit(*errors[:ERRORS_MAX])
    return value


def _converted(contract: Contract, document: Any) -> tuple[dict[str, Any], list[BadField]]:
    """Return what could be converted, and what could not; a field that could not is left out."""
    if not isinstance(document, dict):
        raise Misfit(BadField(path=(), what="the value is not an object"))
    converters = _converters(_ById(contract))
    errors: list[BadField] = []
    value: dict[str, Any] = {}
    for name, given in document.items():
        if name not in converters:
            errors.append(BadField(path=("?",), what="the contract has no such field"))
            continue
        convert = converters[name]
        try:
            value[name] = _json(given) if convert is None or given is None else convert(given)
        except (ValueError, TypeError, ArithmeticError):
            errors.append(BadField(path=(name,), what="does not fit its type"))
    return value, errors


def plain(value: Any) -> Any:
    """Return a value as JSON has it: the inverse of `converted`."""
    match value:
        case dict():
            return {name: plain(v) for name, v in value.items()}
        case list() | tuple():
            return [plain(v) for v in value]
        case _:
            return _plain(value)


def _plain(value: Any) -> Any:
    match value:
        case datetime() if value.tzinfo is not None:
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date() | time():
            return value.isoformat()
        case Decimal() | UUID():
            return str(value)
        case bytes():
            return base64.b64encode(value).decode()
        case _:
            return value


def _json(given: Any) -> Any:
    """Refuse NaN and Infinity, which Python reads and JSON does not have (RFC 8259 §6)."""
    if isinstance(given, float) and not math.isfinite(given):
        raise ValueError
    return given


class _ById:
    """A contract as a key, hashed by its schema id: its schema is a dict."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract

    def __hash__(self) -> int:
        return hash(self.contract.schema_id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ById) and other.contract is self.contract


@lru_cache(maxsize=CONTRACTS_HELD)
def _converters(by_id: _ById) -> Mapping[str, Convert | None]:
    """Return for each field how its JSON becomes Avro's; None where JSON's own value will do."""
    return {spec["name"]: _converter(spec["type"]) for spec in by_id.contract.schema["fields"]}


def _converter(schema: Any) -> Convert | None:
    match schema:
        case list():
            return _of_union(schema)
        case {"logicalType": logical} if logical in _LOGICAL:
            return _LOGICAL[logical]
        case "bytes" | {"type": "bytes" | "fixed"}:
            return _bytes
        case _:
            return _of_many(schema)


def _of_many(schema: Any) -> Convert | None:
    match schema:
        case {"type": "array", "items": items}:
            item = _converter(items)
            return None if item is None else lambda given: [None if v is None else item(v) for v in _list(given)]
        case {"type": "map", "values": values}:
            inner = _converter(values)
            if inner is None:
                return None
            return lambda given: {k: None if v is None else inner(v) for k, v in _dict(given).items()}
        case {"type": "record", "fields": fields}:
            return _of_record({f["name"]: _converter(f["type"]) for f in fields})
        case _:
            return None


def _of_union(branches: list[Any]) -> Convert | None:
    """Each contract has one branch beside null; of several, the first that takes the value."""
    converters = [c for b in branches if b != "null" and (c := _converter(b)) is not None]
    if not converters:
        return None

    def convert(given: Any) -> Any:
        for one in converters:
            try:
                return one(given)
            except (ValueError, TypeError, ArithmeticError):
                continue
        return given  # of a branch without a converter, or of none: the schema says

    return convert


def _of_record(converters: Mapping[str, Convert | None]) -> Convert | None:
    if not any(converters.values()):
        return None

    def convert(given: Any) -> dict[str, Any]:
        value = {}
        for name, v in _dict(given).items():
            one = converters.get(name)
            value[name] = v if one is None or v is None else one(v)
        return value

    return convert


def _misfits(contract: Contract, value: Mapping[str, Any]) -> Iterator[BadField]:
    """Name the fields that are missing or do not fit."""
    for spec in contract.schema["fields"]:
        name = spec["name"]
        if name not in value:
            if "default" not in spec:
                yield BadField(path=(name,), what="is missing")
        elif not _fits(value[name], spec["type"]):
            yield BadField(path=(name,), what="does not fit its type")


def _fits(value: Any, schema: Any) -> bool:
    try:
        return bool(fastavro.validate(value, schema, raise_errors=False))
    except (ValueError, TypeError, OverflowError):
        return False


def _date(given: Any) -> date:
    return date.fromisoformat(_ascii(given))


def _datetime(given: Any) -> datetime:
    instant = datetime.fromisoformat(_ascii(given))
    if instant.tzinfo is None:
        raise ValueError
    return instant


def _local(given: Any) -> datetime:
    instant = datetime.fromisoformat(_ascii(given))
    if instant.tzinfo is not None:
        raise ValueError
    return instant


def _time(given: Any) -> time:
    return time.fromisoformat(_ascii(given))


def _decimal(given: Any) -> Decimal:
    """From text, since JSON's numbers lose digits on their way."""
    try:
        number = Decimal(_ascii(given))
    except InvalidOperation:
        raise ValueError from None
    if not number.is_finite():
        raise ValueError
    return number


def _uuid(given: Any) -> UUID:
    return UUID(_ascii(given))


def _bytes(given: Any) -> bytes:
    try:
        return base64.b64decode(_ascii(given), validate=True)
    except binascii.Error:
        raise ValueError from None


def _ascii(given: Any) -> str:
    """Refuse what is no text; digits of other scripts would pass some of the parsers."""
    if not isinstance(given, str) or not given.isascii():
        raise TypeError
    return given


def _list(given: Any) -> list[Any]:
    if not isinstance(given, list):
        raise TypeError
    return given


def _dict(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise TypeError
    return given


_LOGICAL: Mapping[str, Convert] = {
    "date": _date,
    "time-millis": _time,
    "time-micros": _time,
    "timestamp-millis": _datetime,
    "timestamp-micros": _datetime,
    "local-timestamp-millis": _local,
    "local-timestamp-micros": _local,
    "decimal": _decimal,
    "uuid": _uuid,
}
