"""The catalogue of contracts: every event type that may travel, by type and by schema id."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from passerelle_schemas.codec import schema_id_of
from passerelle_schemas.contract import Contract, contract_of
from passerelle_schemas.contract_files import ContractFiles
from passerelle_schemas.documents import DocumentFault
from passerelle_schemas.faults import Fault
from passerelle_schemas.words import Text

__all__ = ["Catalogue", "Contract", "Text", "UnknownContract"]


class UnknownContract(Fault):
    """No contract of that type or schema id."""


class Catalogue:
    """All contracts of a city, by event type and by schema id."""

    def __init__(self, contracts: Iterable[Contract]) -> None:
        self._by_type = {c.type: c for c in sorted(contracts, key=lambda c: c.type)}
        self._by_id = {c.schema_id: c for c in self._by_type.values()}

    @classmethod
    def load(cls, folder: Path) -> "Catalogue":
        """Read a folder of contracts. Raises `DocumentFault` with every problem; what is not published is one."""
        files = ContractFiles.read(folder)
        if files.problems or files.unpublished:
            raise DocumentFault([*files.problems, *files.unpublished])
        return cls(contract for _, contract in files.contracts)

    @classmethod
    def from_schemas(cls, schemas: Mapping[str, tuple[int, Mapping[str, Any]]]) -> "Catalogue":
        """Build from type → (schema id, schema), as a policy bundle carries them."""
        return cls(contract_of(t, i, s) for t, (i, s) in schemas.items())

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
