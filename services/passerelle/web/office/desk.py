"""What waits on an officer's desk, ready to be shown. Pure but for what it is given."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Say = Callable[..., str]

COUNTS = ("reviews", "answers", "erasures")
"""What the city's attention counts open and overdue."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Count:
    """How much of one kind is open in the whole city, and how much is late."""

    name: str
    open: int
    overdue: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """What waits on the desk of this officer's department."""

    counts: Sequence[Count]
    overrides: Sequence[Mapping[str, Any]]
    """Unreviewed, the oldest first; of all departments."""
    objections: Sequence[Mapping[str, Any]]
    """Unanswered, the most urgent first; of this department."""


def waiting(
    attention: Mapping[str, int], overrides: Mapping[str, Any], objections: Mapping[str, Any], say: Say
) -> Waiting:
    """Return the desk, from the service's three answers."""
    names = {
        "reviews": say("urgences vitales à vérifier"),
        "answers": say("oppositions sans réponse"),
        "erasures": say("effacements à confirmer"),
    }
    return Waiting(
        counts=[
            Count(name=names[kind], open=attention[f"{kind}_open"], overdue=attention[f"{kind}_overdue"])
            for kind in COUNTS
        ],
        overrides=overrides["overrides"],
        objections=objections["objections"],
    )


def answer_body(outcome: str, ground: str, law: str) -> dict[str, str] | None:
    """Return an answer to an objection as the service takes it; None where something lacks."""
    if outcome == "upheld":
        return {"outcome": outcome}
    said = {"outcome": outcome, "ground": ground.strip(), "law": law.strip()}
    return said if outcome == "resumed" and all(said.values()) else None
