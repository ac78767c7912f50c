"""What became of a proposal, as a test speaks of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from passerelle_consent.policy.decide import Reason, Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One decision, and what was delivered under it."""

    decision: bytes
    """The decision's id, 16 bytes."""
    who: str
    flow: str
    verdict: Verdict
    reason: Reason
    withheld: tuple[str, ...] = ()
    value: Mapping[str, Any] | None = field(default=None, repr=False)
    """As the recipient reads it; None when nothing was delivered."""
