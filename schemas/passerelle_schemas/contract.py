"""A contract: one event type with its schema, its owner, and where each of its fields comes from."""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import fastavro
from pydantic import ValidationError

from passerelle_schemas.codec import HEAD_BYTES, Undecodable, frame, schema_id_of
from passerelle_schemas.faults import Fault
from passerelle_schemas.shape import full_name
from passerelle_schemas.words import Text

TYPE = re.compile(r"(?P<department>[a-z][a-z0-9-]*)\.(?P<event>[a-z][a-z0-9-]*)\.v(?P<version>[1-9][0-9]*)")


class Mode(StrEnum):
    """Which readers the next version of an event must not break."""

    BACKWARD = "BACKWARD"
    """Who reads the new version can read what was written in the one before."""
    FORWARD = "FORWARD"
    """Who reads the version before can read what is written in the new one."""
    FULL = "FULL"
    """Both."""
    NONE = "NONE"
    """Neither: readers are told."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contract:
    """One event type: its schema, who owns it, and where each of its fields comes from."""

    type: str
    department: str
    event: str
    version: int
    schema_id: int
    schema: Mapping[str, Any]
    parsed: Any = field(repr=False)
    fields: tuple[str, ...]
    nullable: frozenset[str]
    sources: Mapping[str, tuple[str, ...]]
    """Field → the ``<type>#<field>`` that contribute to it; a field of an original event is its own source."""
    owner: str
    description: Text
    words: Mapping[str, Text]
    """What each field is, for people; `contracts check` asks for all of them, a test's may have none."""
    classes: Mapping[str, str]
    compatibility: Mode
    retention: str
    example: Mapping[str, Any]
    derived: bool = field(init=False)
    """Whether agents make this event out of others."""
    known: frozenset[str] = field(init=False, repr=False)
    """``fields``, to ask whether a name is one of them."""

    def __post_init__(self) -> None:
        """Find once what is asked of every event."""
        object.__setattr__(self, "derived", any(s != (f"{self.type}#{f}",) for f, s in self.sources.items()))
        object.__setattr__(self, "known", frozenset(self.fields))

    @property
    def name(self) -> str:
        """The record's full name in Avro."""
        return full_name(self.schema["name"], self.schema.get("namespace", ""))

    def encode(self, value: Mapping[str, Any]) -> bytes:
        """Return the framed Avro value. Raises `Undecodable` naming the field that does not fit, never its value."""
        if unknown := value.keys() - self.known:
            raise Undecodable(f"{self.type} has no field {min(unknown)}")
        if not _fits(value, self.parsed):
            raise Undecodable(f"{self.type}: {self._misfit(value)}")
        out = io.BytesIO()
        fastavro.schemaless_writer(out, self.parsed, value)
        return frame(self.schema_id, out.getvalue())

    def _misfit(self, value: Mapping[str, Any]) -> str:
        """Name the field that is missing or does not fit."""
        for name, spec in zip(self.fields, self.schema["fields"], strict=True):
            if name not in value and "default" not in spec:
                return f"field {name} is missing"
            if name in value and not _fits(value[name], spec["type"]):
                return f"field {name} does not fit its type"
        return "does not fit its schema"

    def decode(self, value: bytes) -> dict[str, Any]:
        """Read a framed value of this contract, all of it. Raises `Undecodable`."""
        if schema_id_of(value) != self.schema_id:
            raise Undecodable(f"the schema id is not that of {self.type}")
        source = io.BytesIO(value)
        source.seek(HEAD_BYTES)
        try:
            record: dict[str, Any] = fastavro.schemaless_reader(source, self.parsed, None)  # type: ignore[assignment]
        except Exception as exc:  # noqa: BLE001 - fastavro raises whatever the bytes provoke
            raise Undecodable(f"not an Avro body of {self.type}: {type(exc).__name__}") from None
        if source.tell() != len(value):
            raise Undecodable("bytes after the Avro body")
        return record


def _fits(value: object, schema: Any) -> bool:
    """Whether a value is one of the schema. What no logical type can be made of raises whatever it provokes."""
    try:
        return fastavro.validate(value, schema, raise_errors=False)
    except Exception:  # noqa: BLE001 - fastavro's preparations of logical types raise what Python does
        return False


def _words(spec: Mapping[str, Any]) -> Text | None:
    """A field's description; None where it has none in both languages, which `rules` tells with its line."""
    try:
        return Text.model_validate(spec.get("passerelle.description"))
    except ValidationError:
        return None


def contract_of(type_: str, schema_id: int, schema: Mapping[str, Any]) -> Contract:
    """Build from what a file or a policy bundle holds. Raises `Fault`, and whatever fastavro raises for no schema."""
    parts = TYPE.fullmatch(type_)
    if parts is None:
        raise Fault(f"{type_!r} is not <department>.<event>.v<n>")
    # Parsed once, with fastavro's hint that it is: without the hint every value would parse the schema again.
    parsed = fastavro.parse_schema({**schema})
    specs = schema["fields"]
    return Contract(
        type=type_,
        department=parts["department"],
        event=parts["event"],
        version=int(parts["version"]),
        schema_id=schema_id,
        schema=schema,
        parsed=parsed,
        fields=tuple(f["name"] for f in specs),
        nullable=frozenset(f["name"] for f in specs if isinstance(f["type"], list) and "null" in f["type"]),
        sources={f["name"]: tuple(f.get("passerelle.from", ())) or (f"{type_}#{f['name']}",) for f in specs},
        owner=schema["passerelle.owner"],
        description=Text.model_validate(schema["passerelle.description"]),
        words={f["name"]: said for f in specs if (said := _words(f)) is not None},
        classes={f["name"]: f["passerelle.class"] for f in specs},
        compatibility=Mode(schema.get("passerelle.compatibility", Mode.BACKWARD)),
        retention=schema["passerelle.retention"],
        example=schema["passerelle.example"],
    )
