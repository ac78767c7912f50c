"""What follows from something that was said about an agreement, as it stands now. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from passerelle.web.citizen.sharing import Control, Sharing
from passerelle_consent.policy.decide import Verdict
from passerelle_consent.policy.standing import State

_WAITING = frozenset({State.REQUESTED, State.DEFERRED})
_OPENING = frozenset({State.GIVEN, State.RENEWED, State.RESUMED})


class Effect(StrEnum):
    """What a word did."""

    ENDS = "ends"
    """Nothing is sent under the agreement any more."""
    OPENS = "opens"
    """The sharing passes."""
    INCOMPLETE = "incomplete"
    """It was a yes, and something else still keeps the sharing closed."""
    WAITS = "waits"
    """It counts once the other guardian has said the same."""
    SUPERSEDED = "superseded"
    """Something else was said since: what follows is said by that."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Followed:
    """What followed. ``lacking``: other agreements of the sharing that wait for the person's own yes."""

    effect: Effect
    lacking: Sequence[Control] = ()


def followed(said: Mapping[str, Any], control: Control, sharing: Sharing) -> Followed:
    """Say what follows. ``said``: a change as the consent service tells it; the others are as they stand now."""
    state = State(said["state"])
    if control.said is not None and control.said.at_ms > _ms(said["recorded_at"]):
        return Followed(effect=Effect.SUPERSEDED)
    if state in _WAITING:
        return Followed(effect=Effect.WAITS)
    if state not in _OPENING:
        return Followed(effect=Effect.ENDS)
    if sharing.decision.verdict is not Verdict.DENY:
        return Followed(effect=Effect.OPENS)
    lacking = [c for c in sharing.controls if c.is_asked and not c.consented and c is not control]
    return Followed(effect=Effect.INCOMPLETE, lacking=lacking)


def since(changes: Sequence[Mapping[str, Any]], seen: str) -> list[Mapping[str, Any]]:
    """Return what was said after the revision that somebody saw, newest first; nothing where that is not known.

    ``changes``: of all agreements, newest first; ``seen``: as the form has it.
    """
    return [c for c in changes if c["revision"] > int(seen)] if seen.isascii() and seen.isdecimal() else []


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)
