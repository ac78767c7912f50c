"""What a registry holds of the city's contracts, and what it would have to hold. Pure.

Records name schemas by their ids for ever, so there are three cases and no fourth: a registry has a contract under its
subject, version and id; it lacks it, and the id is free; or it says something else, which nobody may overwrite.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from passerelle_schemas.contract import Contract
from passerelle_schemas.registry import subjects_of
from passerelle_schemas.shape import digest


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """A schema as a registry has it."""

    id: int
    schema: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Missing:
    """A contract that a registry has not under this subject."""

    subject: str
    contract: Contract


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """What would have to be added, and what stands against it."""

    missing: tuple[Missing, ...]
    conflicts: tuple[str, ...]

    @property
    def settled(self) -> bool:
        """Whether the registry says what the lock says."""
        return not (self.missing or self.conflicts)


class Holds(Protocol):
    """What a registry is asked. `passerelle.external_registry.confluent.Client` does."""

    def version(self, subject: str, version: int) -> Held | None: ...  # noqa: D102 - None where there is none
    def by_id(self, schema_id: int) -> str | None: ...  # noqa: D102 - None where the id is free


def difference(contracts: Iterable[Contract], holds: Holds) -> Difference:
    """Ask for every contract, under each of its subjects."""
    missing: list[Missing] = []
    conflicts: list[str] = []
    for contract in sorted(contracts, key=lambda contract: contract.schema_id):
        other = list(_conflicts(contract, holds))
        conflicts += other
        if not other:
            missing += [
                Missing(subject=subject, contract=contract)
                for subject in subjects_of(contract)
                if holds.version(subject, contract.version) is None
            ]
    return Difference(missing=tuple(missing), conflicts=tuple(conflicts))


def _conflicts(contract: Contract, holds: Holds) -> Iterator[str]:
    wanted = digest(contract.schema)
    found = holds.by_id(contract.schema_id)
    if found is not None and _digest(found) != wanted:
        yield f"id {contract.schema_id} is {contract.type} here, and another schema there"
    for subject in subjects_of(contract):
        held = holds.version(subject, contract.version)
        if held is not None and held.id != contract.schema_id:
            yield f"{subject} v{contract.version} has id {contract.schema_id} here, and {held.id} there"
        elif held is not None and _digest(held.schema) != wanted:
            yield f"{subject} v{contract.version} is not the same schema there"


def _digest(text: str) -> str | None:
    """Of a schema's shape; None for what is no Avro record."""
    try:
        schema = json.loads(text)
        return digest(schema) if isinstance(schema, Mapping) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def schema_text(contract: Contract) -> str:
    """The schema as a registry is given it."""
    said: Any = contract.schema
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"))
