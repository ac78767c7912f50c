"""The register's list: what is looked for, and where each agreement stands. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, Self

BASES = ("6-1-a", "6-1-b", "6-1-c", "6-1-d", "6-1-e", "6-1-f")
WORD_CHARS_MIN, WORD_CHARS_MAX = 2, 80
"""As the consent service takes them."""


class State(StrEnum):
    """Where a version of an agreement stands. The value is what an address says."""

    IN_FORCE = "en-vigueur"
    TO_COME = "a-venir"
    OVER = "termine"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What somebody looks for: what is empty is not asked, and what makes no sense is left out."""

    word: str = ""
    department: str = ""
    basis: str = ""
    state: State | None = None

    @classmethod
    def of(cls, query: Mapping[str, str], departments: Iterable[str]) -> Self:
        """Read an address's query."""
        word = query.get("q", "").strip()[:WORD_CHARS_MAX]
        department, basis, state = query.get("service", ""), query.get("base", ""), query.get("etat", "")
        return cls(
            word=word if len(word) >= WORD_CHARS_MIN else "",
            department=department if department in set(departments) else "",
            basis=basis if basis in BASES else "",
            state=State(state) if state in set(State) else None,
        )

    @property
    def asked(self) -> dict[str, str]:
        """For the consent service; the state is chosen here."""
        said = {"search": self.word, "department": self.department, "basis": self.basis}
        return {name: value for name, value in said.items() if value}

    def __bool__(self) -> bool:
        return self != Wanted()


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One version of an agreement in the list."""

    agreement: Mapping[str, Any]
    state: State

    @property
    def fields(self) -> list[Mapping[str, str]]:
        """What it is about, in words."""
        return list(self.agreement["described"].values())


def rows(agreements: Iterable[Mapping[str, Any]], today: date, wanted: State | None = None) -> list[Row]:
    """Return what is in force first, then what is to come, then what is over; each by its id, newest first."""
    placed = [Row(agreement=a, state=state_of(a["in_force_from"], a["in_force_until"], today)) for a in agreements]
    order = list(State)
    shown = [row for row in placed if wanted in (None, row.state)]
    return sorted(shown, key=lambda r: (order.index(r.state), r.agreement["id"], -r.agreement["version"]))


def state_of(first: str, last: str | None, today: date) -> State:
    """Where a version stands on a day of UTC: both its days are included, as the gate counts them."""
    if date.fromisoformat(first) > today:
        return State.TO_COME
    return State.IN_FORCE if last is None or today <= date.fromisoformat(last) else State.OVER
