"""What a reading of the log finds wrong, as values: they are counted, told, and handed from process to process."""

from dataclasses import dataclass
from enum import StrEnum

from passerelle_consent.ledger.faults import Invalid, Unclear

FINDINGS_MAX = 50
"""Past that number the log is broken enough; the count goes on."""


class Outcome(StrEnum):
    """What is known of the log after the reading."""

    VALID = "valid"
    INVALID = "invalid"
    UNCLEAR = "unclear"
    """Could not tell: something is missing, or it is another log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that is wrong with one file."""

    file: str
    what: str
    outcome: Outcome
    hint: str | None = None

    @classmethod
    def of(cls, fault: Invalid | Unclear, file: str) -> "Finding":
        """Tell a fault; ``file`` is named when the fault names none."""
        outcome = Outcome.INVALID if isinstance(fault, Invalid) else Outcome.UNCLEAR
        return cls(file=fault.where or file, what=fault.what, outcome=outcome, hint=fault.hint)
