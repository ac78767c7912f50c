"""Entries of the ledger as rows of a page. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from passerelle.web.audit.labels import REASONS, TYPES
from passerelle_consent.ledger.log.canonical import canonical


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One entry. ``text`` is what was hashed (RFC 8785): the page holds a proof against these very bytes."""

    index: int
    at: str
    type: str
    ident: str
    verdict: str | None
    reason: str | None
    flow: str | None
    recipient: str | None
    department: str | None
    agreements: Sequence[str]
    text: str

    @classmethod
    def of(cls, shown: Mapping[str, Any]) -> Self:
        """Read what the consent service lists."""
        entry: Mapping[str, Any] = shown["entry"]
        return cls(
            index=shown["index"],
            at=entry["time"],
            type=entry["type"],
            ident=entry.get("decision") or entry["id"],
            verdict=entry.get("verdict"),
            reason=entry.get("reason"),
            flow=entry.get("flow"),
            recipient=entry.get("recipient"),
            department=entry.get("department"),
            agreements=tuple(entry.get("agreements", ())),
            text=canonical(entry).decode(),
        )

    @property
    def outcome(self) -> tuple[str | None, ...]:
        """All that is shown of what was decided, or happened."""
        return self.type, self.verdict, self.reason

    @property
    def way(self) -> tuple[str | None, ...]:
        """All that is shown of where from and where to."""
        return self.verdict, self.flow, self.recipient, self.department

    @property
    def kind(self) -> str:
        """The type in words, as a message."""
        return TYPES.get(self.type, self.type)

    @property
    def why(self) -> str | None:
        """The reason in words, as a message."""
        return None if self.reason is None else REASONS.get(self.reason, self.reason)
