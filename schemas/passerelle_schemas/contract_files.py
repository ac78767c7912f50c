"""The files of contracts: ``<department>/<event>.v<n>.avsc``, and which of them are published."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from passerelle_schemas.classes import CLASSES
from passerelle_schemas.codec import Undecodable
from passerelle_schemas.contract import TYPE, Contract, Mode, contract_of
from passerelle_schemas.documents import Document, DocumentFault
from passerelle_schemas.published import LOCK, Lock
from passerelle_schemas.words import Text

RETENTION = re.compile(r"P([0-9]{1,6}[DWMY])+")
SOURCE = re.compile(rf"(?P<type>{TYPE.pattern})#(?P<field>[A-Za-z_][A-Za-z0-9_]*)")


class _AvroField(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str
    type: Any
    class_: str = Field(alias="passerelle.class")
    sources: list[str] = Field(alias="passerelle.from", default=[])

    @field_validator("class_")
    @classmethod
    def _is_known(cls, class_: str) -> str:
        if class_ not in CLASSES:
            raise ValueError(f"{class_!r} is no class of data: {', '.join(CLASSES)}")
        return class_

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
    type: Literal["record"]
    name: str
    namespace: str = ""
    fields: list[_AvroField] = Field(min_length=1)
    owner: str = Field(alias="passerelle.owner")
    description: Text = Field(alias="passerelle.description")
    compatibility: Mode = Field(alias="passerelle.compatibility", default=Mode.BACKWARD)
    retention: str = Field(alias="passerelle.retention")
    example: dict[str, Any] = Field(alias="passerelle.example")

    @field_validator("retention")
    @classmethod
    def _is_some_time(cls, retention: str) -> str:
        if not RETENTION.fullmatch(retention) or not re.search("[1-9]", retention):
            raise ValueError(f"{retention!r} is no length of time, as P30D, P12W, P6M or P2Y is (ISO 8601)")
        return retention


@dataclass(frozen=True, kw_only=True, slots=True)
class ContractFiles:
    """What a folder of contracts holds: those that can be read, and what is wrong with the others."""

    folder: Path
    lock: Lock
    contracts: tuple[tuple[Document, Contract], ...]
    """By type. One that is not published yet has the schema id that it would get."""
    problems: tuple[str, ...]
    unpublished: tuple[str, ...]
    """A problem for each contract that the lock does not hold."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read every contract of the folder. Raises `DocumentFault` when its lock is none."""
        lock = Lock.read(folder / LOCK)
        paths = {f"{path.parent.name}.{path.stem}": path for path in sorted(folder.glob("*/*.avsc"))}
        new = [type_ for type_ in paths if type_ not in lock.entries]
        ids = lock.ids_with(new)
        contracts: list[tuple[Document, Contract]] = []
        problems: list[str] = []
        for type_, path in paths.items():
            try:
                document, contract = _load(path, type_, ids[type_])
                contracts.append((document, contract))
                problems += lock.edited(document, contract)
            except DocumentFault as fault:
                problems += fault.problems
        return cls(
            folder=folder,
            lock=lock,
            contracts=tuple(sorted(contracts, key=lambda pair: pair[1].type)),
            problems=(*problems, *lock.problems(paths)),
            unpublished=tuple(_unpublished(paths, new)),
        )

    def publish(self) -> list[str]:
        """Put what is new under the lock; change nothing that is there. Returns the types that were added."""
        return self.lock.add(contract for _, contract in self.contracts)


def _unpublished(paths: Mapping[str, Path], new: list[str]) -> Iterator[str]:
    for type_ in new:
        yield f"{paths[type_]}:1: {type_} is not in {LOCK}: `passerelle contracts check --lock` gives it a schema id"


def _load(path: Path, type_: str, schema_id: int) -> tuple[Document, Contract]:
    document = Document(path)
    model = document.parse(_AvroContract)
    if not TYPE.fullmatch(type_):
        raise DocumentFault([f"{path}:1: a contract is <department>/<event>.v<n>.avsc"])
    if model.owner != path.parent.name:
        raise DocumentFault([document.problem(("passerelle.owner",), f"is not its folder's, {path.parent.name}")])
    try:
        contract = contract_of(type_, schema_id, document.value)
    except Exception as exc:  # noqa: BLE001 - fastavro raises many kinds for a schema that is none
        raise DocumentFault([f"{path}:1: not an Avro schema: {exc}"]) from None
    _check_example(document, contract)
    return document, contract


def _check_example(document: Document, contract: Contract) -> None:
    try:
        contract.decode(contract.encode(contract.example))
    except Undecodable as exc:
        raise DocumentFault([document.problem(("passerelle.example",), exc.what)]) from None
