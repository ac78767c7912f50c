"""The lock of published contracts: a schema id stands for one shape, for ever.

`ids.lock.yaml` in the contracts' folder holds ``<type>: { id, sha256 }``. Records that were written carry the id: were
its schema edited, they would be read as what they are not. So an id is never changed, removed or given again, and a
change of the shape is a new version.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, RootModel

from passerelle_schemas.contract import Contract
from passerelle_schemas.documents import Document
from passerelle_schemas.shape import digest

LOCK = "ids.lock.yaml"
ID_MAX = (1 << 31) - 1
"""The wire format gives it four bytes, and Java reads them with a sign."""
_HEAD = """\
# Event type: its schema id and the digest of its shape. Records that were written carry the id: an entry is never
# changed, removed or given again. `passerelle contracts check --lock` adds what is new.
"""


class Entry(BaseModel):
    """One published contract."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: int = Field(ge=1, le=ID_MAX)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class _File(RootModel[dict[str, Entry]]):
    """Event type → what was published."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lock:
    """What was published, by event type."""

    path: Path
    document: Document | None
    entries: Mapping[str, Entry]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the lock; a folder of new contracts has none. Raises `DocumentFault`."""
        document = Document(path) if path.exists() else None
        said = document is not None and document.value is not None
        return cls(path=path, document=document, entries=document.parse(_File).root if document and said else {})

    def ids_with(self, new: Iterable[str]) -> Mapping[str, int]:
        """Every id, and the next free ones for new types in their order."""
        ids = {type_: entry.id for type_, entry in self.entries.items()}
        first = max(ids.values(), default=0) + 1
        return ids | {type_: first + n for n, type_ in enumerate(new)}

    def edited(self, document: Document, contract: Contract) -> Iterator[str]:
        """Say that a contract is no longer what was published, if so."""
        entry = self.entries.get(contract.type)
        if entry is not None and entry.sha256 != digest(contract.schema):
            later = f"{contract.event}.v{contract.version + 1}.avsc"
            said = f"{contract.type} was published, and edited since: a change is a new {later}"
            draft = f"if no record was ever written of it: passerelle contracts relock {contract.type}"
            yield document.problem((), f"{said} ({draft})")

    def problems(self, present: Collection[str]) -> Iterator[str]:
        """Say which entries have no contract any more, and which ids were given twice."""
        seen: dict[int, str] = {}
        for type_, entry in self.entries.items():
            if type_ not in present:
                yield self._problem(type_, "no such contract: ids are never removed or reused")
            if entry.id in seen:
                yield self._problem(type_, f"id {entry.id} belongs to {seen[entry.id]}")
            seen.setdefault(entry.id, type_)

    def add(self, contracts: Iterable[Contract]) -> list[str]:
        """Write the entries of contracts that have none; returns their types."""
        new = {c.type: Entry(id=c.schema_id, sha256=digest(c.schema)) for c in contracts if c.type not in self.entries}
        if new:
            self.path.write_text(self.text_with(new), encoding="utf-8")
        return list(new)

    def renew(self, contract: Contract) -> None:
        """Write another shape for a published contract, under its id: nobody may ever have written the first one."""
        entry = Entry(id=self.entries[contract.type].id, sha256=digest(contract.schema))
        self.path.write_text(self.text_with({contract.type: entry}), encoding="utf-8")

    def text_with(self, new: Mapping[str, Entry]) -> str:
        """The lock file as it would be with new entries."""
        lines = (f"{t}: {{ id: {e.id}, sha256: {e.sha256} }}\n" for t, e in {**self.entries, **new}.items())
        return _HEAD + "".join(lines)

    def _problem(self, type_: str, what: str) -> str:
        return f"{self.path}: {what}" if self.document is None else self.document.problem((type_,), what)
