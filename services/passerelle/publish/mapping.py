"""Mapping files: which column of a CSV file becomes which field of an event, and how its subject is found."""

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from passerelle_schemas.catalogue import Catalogue, Contract
from passerelle_schemas.documents import Document, DocumentFault

CELL_CHARS_MAX = 10_000
"""No field of a municipal register is longer; a longer cell is a quote that was never closed."""

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_DECIMAL = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?")
_TRUTH = {"true": True, "false": False, "1": True, "0": False, "oui": True, "non": False}


class CellProblem(Exception):
    """What is wrong with one cell. Says what was wanted, never what was there."""

    def __init__(self, column: str, problem: str) -> None:
        super().__init__(problem)
        self.column = column
        self.problem = problem


Name = Annotated[str, Field(min_length=1)]
"""Of a column."""


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(_Document):
    """Where a field's value stands, and what it must be."""

    column: Name
    type: Literal["str", "int", "float", "date", "bool"] = "str"
    empty: Literal["reject", "null"] = "reject"
    """What an empty cell is: a fault of the row, or the field's null."""
    date_format: str = "%Y-%m-%d"
    values: tuple[str, ...] | None = None
    """When given, the only cells accepted."""
    between: tuple[float, float] | None = None
    """When given, the least and the greatest number accepted."""

    def read(self, cells: Mapping[str, str]) -> Any:
        """Return the field's value. Raises `CellProblem`."""
        cell = cells[self.column].strip()
        if not cell:
            if self.empty == "null":
                return None
            raise CellProblem(self.column, "is empty")
        if len(cell) > CELL_CHARS_MAX:
            raise CellProblem(self.column, f"is longer than {CELL_CHARS_MAX} characters")
        if self.values is not None and cell not in self.values:
            raise CellProblem(self.column, "is not one of the known values")
        return self._bounded(self._converted(cell))

    def _converted(self, cell: str) -> Any:
        match self.type:
            case "int":
                return int(self._matching(_WHOLE, cell, "is not a whole number"))
            case "float":
                return float(self._matching(_DECIMAL, cell, "is not a decimal number"))
            case "date":
                return self._date(cell)
            case "bool":
                return self._truth(cell)
            case _:
                return cell

    def _matching(self, pattern: re.Pattern[str], cell: str, problem: str) -> str:
        # isascii, since \d and int() also take the digits of other scripts.
        if not (cell.isascii() and pattern.fullmatch(cell)):
            raise CellProblem(self.column, problem)
        return cell

    def _date(self, cell: str) -> date:
        try:
            return datetime.strptime(cell, self.date_format).date()  # noqa: DTZ007 - a day, no instant
        except ValueError:
            raise CellProblem(self.column, f"is not a date as {self.date_format}") from None

    def _truth(self, cell: str) -> bool:
        if cell.lower() not in _TRUTH:
            raise CellProblem(self.column, "is not true or false")
        return _TRUTH[cell.lower()]

    def _bounded(self, value: Any) -> Any:
        if self.between is not None and isinstance(value, int | float):
            least, greatest = self.between
            if not (math.isfinite(value) and least <= value <= greatest):
                raise CellProblem(self.column, f"is not between {least:g} and {greatest:g}")
        return value


class IdentityColumns(_Document):
    """Where a pivot identity stands."""

    given_names: Name
    """Given names, parted by spaces or commas."""
    family_name: Name
    birth_date: Name
    gender: Name
    birth_place: Name
    birth_country: Name

    def all(self) -> tuple[str, ...]:
        """Return the columns."""
        return tuple(self.model_dump().values())


class PseudonymKey(_Document):
    """The file names its subjects by the department's own pseudonyms (32 hexadecimal digits)."""

    by: Literal["pseudonym"]
    column: Name

    def columns(self) -> tuple[str, ...]:
        """Return the columns needed to find a row's subject."""
        return (self.column,)


class IdentityKey(_Document):
    """The file holds pivot identities: the identity register turns them into pseudonyms."""

    by: Literal["identity"]
    identity: IdentityColumns

    def columns(self) -> tuple[str, ...]:
        """Return the columns needed to find a row's subject."""
        return self.identity.all()


class DrawnKey(_Document):
    """Open data that names nobody: a seeded hash of a column draws the subject from a list of pseudonyms."""

    by: Literal["drawn"]
    column: Name
    seed: str

    def columns(self) -> tuple[str, ...]:
        """Return the columns needed to find a row's subject."""
        return (self.column,)


Key = Annotated[PseudonymKey | IdentityKey | DrawnKey, Field(discriminator="by")]


class CsvMapping(_Document):
    """One mapping file."""

    event: str
    key: Key
    fields: dict[str, Column] = Field(min_length=1)
    constants: dict[str, Any] = {}
    time: Column | None = None
    """When the event happened (a date, taken as midnight UTC); without it, the moment of publication."""
    delimiter: str = Field(default=",", min_length=1, max_length=1)

    def columns(self) -> tuple[str, ...]:
        """Return every column that the mapping reads, once, in its order."""
        timed = (self.time.column,) if self.time else ()
        return tuple(dict.fromkeys([*self.key.columns(), *(c.column for c in self.fields.values()), *timed]))

    def value(self, cells: Mapping[str, str]) -> dict[str, Any]:
        """Return the event's value. Raises `CellProblem` for the first cell that is none."""
        return {name: column.read(cells) for name, column in self.fields.items()} | self.constants

    def instant(self, cells: Mapping[str, str], now: datetime) -> datetime:
        """Return when the event happened, aware. Raises `CellProblem`."""
        day = self.time.read(cells) if self.time else None
        return datetime.combine(day, time(), UTC) if isinstance(day, date) else now


def load_mapping(path: Path, catalogue: Catalogue) -> tuple[CsvMapping, Contract]:
    """Read a mapping and check it against its contract. Raises `DocumentFault` with file and line."""
    document = Document(path)
    mapping = document.parse(CsvMapping)
    if mapping.event not in catalogue:
        raise DocumentFault([document.problem(("event",), f"no contract {mapping.event}")])
    contract = catalogue.by_type(mapping.event)
    problems = [document.problem(at, what) for at, what in _problems(mapping, contract)]
    if problems:
        raise DocumentFault(problems)
    return mapping, contract


def _problems(mapping: CsvMapping, contract: Contract) -> Iterable[tuple[tuple[str, ...], str]]:
    filled = {**mapping.fields, **mapping.constants}
    for name in filled.keys() - set(contract.fields):
        yield ("fields", name), f"{contract.type} has no field {name}"
    for name in contract.fields:
        if name not in filled and name not in contract.nullable:
            yield ("fields",), f"nothing fills field {name} of {contract.type}"
    for name, column in mapping.fields.items():
        if column.empty == "null" and name not in contract.nullable:
            yield ("fields", name, "empty"), f"field {name} of {contract.type} cannot be null"
    if mapping.time is not None and mapping.time.type != "date":
        yield ("time",), "the time of an event is read from a column of type date"
