"""Receipts of what one subject said, as the subject's own portal hands them out."""

from dataclasses import dataclass
from typing import Any, Literal

from passerelle_consent.policy.standing import Actor, State
from passerelle_consent.policy.standings import CONSENTED
from passerelle_consent.policy.voice import terms_of
from passerelle_consent.receipts.document import Event, Issue, receipt_of
from passerelle_consent.receipts.seal import Seal
from passerelle_consent.records import problems
from passerelle_consent.records.history import Said
from passerelle_consent.records.policy_book import PolicyBook
from passerelle_consent.records.problems import Problem


@dataclass(frozen=True, kw_only=True, slots=True)
class Writer:
    """Writes and signs receipts. Some 0.8 ms of pure computation each: of many, on a thread."""

    issue: Issue
    book: PolicyBook
    seal: Seal
    portal: str
    """The department whose portal it is."""
    pseudonym: str
    """The subject's there."""
    language: Literal["fr", "en"]
    now_ms: int

    def document(self, said: Said) -> dict[str, Any]:
        """Write the receipt of what was said. Raises `Problem` no-receipt, unknown-agreement, unknown-version."""
        if said.change.agreement is None:
            raise Problem(problems.NO_RECEIPT)
        agreement_id, _, version = said.change.agreement.partition("@")
        agreement = self.book.version(agreement_id, int(version))
        state = State(said.change.state)
        event = Event(
            id=said.change.id,
            subject=self.pseudonym,
            portal=self.portal,
            state=state,
            at_ms=said.change.at_ms,
            until_ms=terms_of(agreement).until_ms(said.change.at_ms) if state in CONSENTED else None,
            acknowledged_ms=said.change.acknowledged_at_ms if said.change.fenced else None,
            by=Actor(said.by),
            department=said.change.department,
            notice=said.notice,
        )
        return receipt_of(event, agreement, self.issue, language=self.language, now_ms=self.now_ms)

    def sealed(self, said: Said) -> str | None:
        """Return the signed receipt; None of what is about no agreement, or one that the policy no longer holds."""
        try:
            return self.seal.sign(self.document(said))
        except Problem:
            return None
