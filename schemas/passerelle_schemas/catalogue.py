"""The catalogue of contracts: every event type that may travel, with its schema, owner and lineage."""

import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastavro
from pydantic import BaseModel, ConfigDict, Field, RootModel, field_validator

from passerelle_schemas.codec import HEAD_BYTES, Undecodable, frame, schema_id_of
from passerelle_schemas.documents import Document, DocumentFault
from passerelle_schemas.faults import Fault

TYPE = re.compile(r"(?P<department>[a-z][a-z0-9-]*)\.(?P<event>[a-z][a-z0-9-]*)\.v(?P<version>[1-9][0-9]*)")
SOURCE = re.compile(rf"(?P<type>{TYPE.pattern})#(?P<field>[A-Za-z_][A-Za-z0-9_]*)")
IDS = "ids.lock.yaml"


class UnknownContract(Fault):
    """No contract of that type or schema id."""


class Text(BaseModel):
    """The same words in the two languages of the city."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    fr: str = Field(min_length=1)
    en: str = Field(min_length=1)


class _AvroField(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str
    type: Any
    class_: str = Field(alias="passerelle.class")
    sources: list[str] = Field(alias="passerelle.from", default=[])

    @field_validator("sources")
    @classmethod
    def _names_fields(cls, sources: list[str]) -> list[str]:
        for source in sources:
            if not SOURCE.fullmatch(source):
                raise ValueError(f"{source!r} is not <department>.<event>.v<n>#<field>")
        return sources


class _AvroContract(BaseModel):
    """What a contract file must say beyond what Avro asks for."""

    model_config = ConfigDict(extra="allow")
    type: str = Field(pattern="^record$")
    name: str
    fields: list[_AvroField] = Field(min_length=1)
    owner: str = Field(alias="passerelle.owner")
    description: Text = Field(alias="passerelle.description")
    compatibility: str = Field(alias="passerelle.compatibility", pattern="^(BACKWARD|FORWARD|FULL|NONE)$")
    retention: str = Field(alias="passerelle.retention", pattern=r"^P(\d+[DWMY])+$")
    example: dict[str, Any] = Field(alias="passerelle.example")


class _Ids(RootModel[dict[str, int]]):
    """The lock file: an event type keeps its schema id for ever, since records out there carry it."""


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
    classes: Mapping[str, str]
    retention: str
    example: Mapping[str, Any]

    @property
    def derived(self) -> bool:
        """Whether agents make this event out of others."""
        return any(s != (f"{self.type}#{f}",) for f, s in self.sources.items())

    def encode(self, value: Mapping[str, Any]) -> bytes:
        """Return the framed Avro value. Raises `Undecodable` naming the field that does not fit, never its value."""
        unknown = sorted(value.keys() - set(self.fields))
        if unknown:
            raise Undecodable(f"{self.type} has no field {unknown[0]}")
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


class Catalogue:
    """All contracts of a city, by event type and by schema id."""

    def __init__(self, contracts: Iterable[Contract]) -> None:
        self._by_type = {c.type: c for c in sorted(contracts, key=lambda c: c.type)}
        self._by_id = {c.schema_id: c for c in self._by_type.values()}

    @classmethod
    def load(cls, folder: Path) -> "Catalogue":
        """Read ``<department>/<event>.v<n>.avsc`` and the ids. Raises `DocumentFault` with every problem."""
        ids_document = Document(folder / IDS)
        ids = ids_document.parse(_Ids).root
        contracts: list[Contract] = []
        problems: list[str] = []
        for path in sorted(folder.glob("*/*.avsc")):
            try:
                contracts.append(_load(path, ids))
            except DocumentFault as fault:
                problems += fault.problems
        problems += _lock_problems(ids_document, ids, {f"{p.parent.name}.{p.stem}" for p in folder.glob("*/*.avsc")})
        if problems:
            raise DocumentFault(problems)
        return cls(contracts)

    @classmethod
    def from_schemas(cls, schemas: Mapping[str, tuple[int, Mapping[str, Any]]]) -> "Catalogue":
        """Build from type → (schema id, schema), as a policy bundle carries them."""
        return cls(_contract(t, i, s) for t, (i, s) in schemas.items())

    def __iter__(self) -> Iterator[Contract]:
        return iter(self._by_type.values())

    def __contains__(self, type_: object) -> bool:
        return type_ in self._by_type

    def by_type(self, type_: str) -> Contract:
        """Raises `UnknownContract`."""
        try:
            return self._by_type[type_]
        except KeyError:
            raise UnknownContract(f"no contract {type_}", hint="see schemas/contracts/") from None

    def by_id(self, schema_id: int) -> Contract:
        """Raises `UnknownContract`."""
        try:
            return self._by_id[schema_id]
        except KeyError:
            raise UnknownContract(f"no contract with schema id {schema_id}") from None

    def decode(self, value: bytes | None) -> tuple[Contract, dict[str, Any]]:
        """Read a framed value of any contract. Raises `Undecodable` or `UnknownContract`."""
        contract = self.by_id(schema_id_of(value))
        assert value is not None  # noqa: S101 - schema_id_of refused it
        return contract, contract.decode(value)


def _fits(value: object, schema: Any) -> bool:
    """Whether a value is one of the schema. What no logical type can be made of raises whatever it provokes."""
    try:
        return fastavro.validate(value, schema, raise_errors=False)
    except Exception:  # noqa: BLE001 - fastavro's preparations of logical types raise what Python does
        return False


def _load(path: Path, ids: Mapping[str, int]) -> Contract:
    document = Document(path)
    model = document.parse(_AvroContract)
    type_ = f"{path.parent.name}.{path.stem}"
    if not TYPE.fullmatch(type_):
        raise DocumentFault([f"{path}: a contract is <department>/<event>.v<n>.avsc"])
    if type_ not in ids:
        raise DocumentFault([f"{path}:1: {type_} has no schema id in {IDS}"])
    if model.owner != path.parent.name:
        raise DocumentFault([document.problem(("passerelle.owner",), f"is not its folder's, {path.parent.name}")])
    try:
        contract = _contract(type_, ids[type_], document.value)
    except Exception as exc:  # noqa: BLE001 - fastavro raises many kinds for a schema that is none
        raise DocumentFault([f"{path}:1: not an Avro schema: {exc}"]) from None
    _check_example(document, contract)
    return contract


def _contract(type_: str, schema_id: int, schema: Mapping[str, Any]) -> Contract:
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
        classes={f["name"]: f["passerelle.class"] for f in specs},
        retention=schema["passerelle.retention"],
        example=schema["passerelle.example"],
    )


def _check_example(document: Document, contract: Contract) -> None:
    try:
        contract.decode(contract.encode(contract.example))
    except Undecodable as exc:
        raise DocumentFault([document.problem(("passerelle.example",), exc.what)]) from None


def _lock_problems(document: Document, ids: Mapping[str, int], present: set[str]) -> list[str]:
    gone = (t for t in ids if t not in present)
    problems = [document.problem((t,), "no such contract: ids are never removed or reused") for t in gone]
    seen: dict[int, str] = {}
    for type_, schema_id in ids.items():
        if schema_id in seen:
            problems.append(document.problem((type_,), f"id {schema_id} belongs to {seen[schema_id]}"))
        seen[schema_id] = type_
    return problems
