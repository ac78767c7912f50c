"""One person under a mandate: which withdrawals took effect, and whether anything was sent afterwards. Pure.

The rules are the ledger's own (`ledger.audit.scan`): the page judges the entries that the consent service lists as
`passerelle ledger scan` judges those it finds with the person's key. That the list is whole only the key shows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from passerelle.web.audit.entries import Row
from passerelle_consent.ledger.audit.scan import ALL, Answer, Fence, Placed, fences
from passerelle_consent.ledger.log.canonical import canonical
from passerelle_consent.ledger.log.entries import Entry

STATES: Mapping[Answer, str] = {Answer.HELD: "ok", Answer.BROKEN: "bad", Answer.UNCLEAR: "warn"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """A withdrawal that took effect, and what followed."""

    fence: Fence
    at: Row
    permit: Row | None
    """What was sent though it must not, or leaves it unclear."""

    @property
    def state(self) -> str:
        """Of the status drawing."""
        return STATES[self.fence.answer]

    @property
    def everything(self) -> bool:
        """Whether it closed all sharing (a restriction, GDPR Art. 18)."""
        return self.fence.agreement == ALL


def judged(listed: Sequence[Mapping[str, Any]]) -> Sequence[Judged]:
    """Judge what the service lists about one person, newest first; newest fence first. Raises `Invalid`."""
    rows = {shown["index"]: Row.of(shown) for shown in listed}
    mine = [Placed(index=s["index"], entry=Entry.parse(canonical(s["entry"]))) for s in reversed(listed)]
    return [
        Judged(fence=f, at=rows[f.at.index], permit=None if f.permit is None else rows[f.permit.index])
        for f in reversed(list(fences(mine)))
    ]
