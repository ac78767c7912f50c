"""Find the subject of each row of a file: three ways, one protocol."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from passerelle.pseudonyms import REF_BYTES, PivotIdentity
from passerelle.publish.mapping import CellProblem, CsvMapping, DrawnKey, IdentityColumns, IdentityKey, PseudonymKey
from passerelle_schemas.faults import Fault

Cells = Mapping[str, str]


class SubjectsFault(Fault):
    """The mapping needs something that was not given in order to find subjects."""


class Links(Protocol):
    """What `passerelle.publish.link.LinkClient` does."""

    async def link(self, identities: Sequence[PivotIdentity]) -> list[bytes]:
        """Return the pseudonyms, in the order of ``identities``."""


class Subjects(Protocol):
    """Finds the subjects of a batch of rows."""

    async def find(self, batch: Sequence[Cells]) -> list[bytes | CellProblem]:
        """Return for each row the department's pseudonym (16 bytes), or what is wrong with the row."""


class ByPseudonym:
    """The rows hold pseudonyms."""

    def __init__(self, column: str) -> None:
        self._column = column

    async def find(self, batch: Sequence[Cells]) -> list[bytes | CellProblem]:
        """See `Subjects`."""
        return [self._one(cells) for cells in batch]

    def _one(self, cells: Cells) -> bytes | CellProblem:
        return parse_pseudonym(cells[self._column]) or CellProblem(self._column, "is not 32 hexadecimal digits")


class ByIdentity:
    """The rows hold pivot identities, which the register links."""

    def __init__(self, columns: IdentityColumns, links: Links) -> None:
        self._columns = columns
        self._links = links

    async def find(self, batch: Sequence[Cells]) -> list[bytes | CellProblem]:
        """See `Subjects`. Raises `LinkFault` when the register does not answer."""
        read = [read_identity(self._columns, cells) for cells in batch]
        linked = iter(await self._links.link([i for i in read if isinstance(i, PivotIdentity)]))
        return [next(linked) if isinstance(i, PivotIdentity) else i for i in read]


class Drawn:
    """The rows are open data: a hash of one cell draws from ``pool``, the same pseudonym for the same cell."""

    def __init__(self, column: str, seed: str, pool: Sequence[bytes]) -> None:
        self._column = column
        self._seed = seed
        self._pool = pool

    async def find(self, batch: Sequence[Cells]) -> list[bytes | CellProblem]:
        """See `Subjects`."""
        return [self._pool[draw(self._seed, cells[self._column], len(self._pool))] for cells in batch]


def subjects_for(mapping: CsvMapping, *, links: Links | None = None, pool: Sequence[bytes] = ()) -> Subjects:
    """Choose by the mapping's key. Raises `SubjectsFault` when what it needs was not given."""
    match mapping.key:
        case PseudonymKey(column=column):
            return ByPseudonym(column)
        case IdentityKey(identity=identity):
            if links is None:
                raise SubjectsFault("the mapping's key is an identity: the identity register is needed")
            return ByIdentity(identity, links)
        case DrawnKey(column=column, seed=seed):
            if not pool:
                raise SubjectsFault("the mapping draws its subjects from a list", hint="give the list: --subjects FILE")
            return Drawn(column, seed, pool)


def draw(seed: str, cell: str, choices: int) -> int:
    """Return a number below ``choices``, the same for the same seed and cell on every machine."""
    digest = hashlib.sha256(f"{seed}\n{cell}".encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8]) % choices


def read_identity(columns: IdentityColumns, cells: Cells) -> PivotIdentity | CellProblem:
    """Read a pivot identity; a problem names the column and nothing of the person."""
    by_field = columns.model_dump()
    raw: dict[str, object] = {field: cells[column].strip() for field, column in by_field.items()}
    raw["given_names"] = tuple(cells[columns.given_names].replace(",", " ").split())
    try:
        return PivotIdentity.model_validate(raw)
    except ValidationError as exc:
        field = str(exc.errors(include_input=False, include_context=False)[0]["loc"][0])
        return CellProblem(by_field[field], f"is no {field.replace('_', ' ')} of a pivot identity")


def parse_pseudonym(text: str) -> bytes | None:
    """Return 16 bytes from 32 hexadecimal digits; None for anything else."""
    try:
        pseudonym = bytes.fromhex(text.strip())
    except ValueError:
        return None
    return pseudonym if len(pseudonym) == REF_BYTES else None


def read_pool(path: Path) -> list[bytes]:
    """Read pseudonyms, the last cell of each line, as `publish link` writes them. Raises `SubjectsFault`."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise SubjectsFault(f"cannot be read: {type(exc).__name__}", where=str(path)) from None
    pool = [parse_pseudonym(line.rpartition(",")[2]) for line in lines]
    bad = [n for n, p in enumerate(pool, 1) if p is None and not (n == 1 and "pseudonym" in lines[0])]
    if bad:
        raise SubjectsFault("is not 32 hexadecimal digits", where=f"{path}:{bad[0]}")
    return [p for p in pool if p is not None]
