"""What the pages of consultations show, from what the consent service says. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil
from typing import Any

DAY_MS = 86_400_000
TEXT_CHARS_MAX = 1_000
"""Of an argument, as the consent service takes it."""

VOICES = {"soutenir": "support", "opposer": "object", "retirer": None}
"""What a form says, and what that is for the service."""
SIDES = {"pour": "for", "contre": "against"}
RULINGS = ("published", "names-a-person", "insulting", "off-topic")
OUTCOMES = ("adopted", "amended", "abandoned")


class Said(StrEnum):
    """What was just done: the page that one is sent back to says it. The value is in its address."""

    SUPPORTED = "soutenu"
    OBJECTED = "oppose"
    TAKEN_BACK = "retire"
    PROPOSED = "propose"


DONE = {"support": Said.SUPPORTED, "object": Said.OBJECTED, None: Said.TAKEN_BACK}


@dataclass(frozen=True, kw_only=True, slots=True)
class Argument:
    """An argument as everybody reads it. Citizens' are in the language that they were written in."""

    text: str
    language: str
    official: bool
    """Of the department that asks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sides:
    """All arguments that are shown."""

    pros: Sequence[Argument]
    cons: Sequence[Argument]


def sides(published: Mapping[str, Any], arguments: Iterable[Mapping[str, Any]], language: str) -> Sides:
    """Put the department's own arguments first, then those of citizens in the order in which they came."""
    both: dict[str, list[Argument]] = {
        side: [Argument(text=said[language], language=language, official=True) for said in published[member]]
        for side, member in (("for", "arguments_for"), ("against", "arguments_against"))
    }
    for said in arguments:
        both[said["side"]].append(Argument(text=said["text"], language=said["language"], official=False))
    return Sides(pros=both["for"], cons=both["against"])


def parted(consultations: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Return consultations by where they stand: what closes first, then what is to come, then what is over."""
    by: dict[str, list[Mapping[str, Any]]] = {"open": [], "announced": [], "over": []}
    for each in consultations:
        by[each["phase"] if each["phase"] in by else "over"].append(each)
    by["open"].sort(key=lambda c: (c["closes_at"], c["id"]))
    by["announced"].sort(key=lambda c: (c["opens_at"], c["id"]))
    return by


def last_moment(consultation: Mapping[str, Any]) -> datetime:
    """Return the last minute in which it hears voices: what closes at midnight has its last day before."""
    return datetime.fromisoformat(consultation["closes_at"]) - timedelta(minutes=1)


def days_left(until: str, now_ms: int) -> int:
    """Return how many days are left, the one that has begun among them."""
    return max(0, ceil((datetime.fromisoformat(until).timestamp() * 1000 - now_ms) / DAY_MS))


_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Carriage returns too: a browser writes one before each line's end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposed:
    """An argument as it came in a form: kept as it was written, to be shown again when it is not taken."""

    side: str
    text: str

    @classmethod
    def of(cls, form: Mapping[str, Any]) -> "Proposed":
        """Read a form. What nobody can see in a text is left out: the service takes no control characters."""
        text = _UNSEEN.sub("", str(form.get("argument", "")))
        return cls(side=str(form.get("cote", "")), text=text)

    @property
    def wrong(self) -> list[str]:
        """Which fields cannot be taken: `cote`, `argument`, `longueur`."""
        found = [] if self.side in SIDES else ["cote"]
        if not self.text.strip():
            found.append("argument")
        if len(self.text.strip()) > TEXT_CHARS_MAX:
            found.append("longueur")
        return found
