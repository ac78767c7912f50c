"""What the log holds about one subject, opened with their key: for the subject, and for an auditor under a mandate.

Each reading by somebody else is an entry of its own about the subject, who sees it among the readers.
"""

from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from passerelle_consent.records import problems
from passerelle_consent.records.http.access import GuardedRoute
from passerelle_consent.records.http.answers import refuses
from passerelle_consent.records.http.calls import Mandate, PseudonymPath, admitted, records_of
from passerelle_consent.records.http.ledger import filtered
from passerelle_consent.records.http.pages import Page, paged
from passerelle_consent.records.http.parameters import only_known
from passerelle_consent.records.log import LogFilter, OwnEntry
from passerelle_consent.records.words import What

router = APIRouter(route_class=GuardedRoute, dependencies=[Depends(only_known)])


class OwnEntryOut(BaseModel):
    """An entry as it was hashed (RFC 8785), and what it commits to: what was withheld, who read what, from where."""

    index: int
    entry: dict[str, Any]
    private: dict[str, Any]
    proof: str

    @classmethod
    def of(cls, own: OwnEntry, pseudonym: str) -> Self:
        """Write it out; ``pseudonym`` is the path's."""
        ident = own.entry.get("decision") or own.entry["id"]
        proof = f"/v1/subjects/{pseudonym}/proof/{ident}"
        return cls(index=own.index, entry=dict(own.entry), private=dict(own.private), proof=proof)


class OwnEntriesOut(BaseModel):
    """Newest first."""

    entries: list[OwnEntryOut]


@router.get("/v1/subjects/{pseudonym}/entries")
@refuses(problems.MANDATE_NEEDED, problems.LEDGER_UNAVAILABLE)
async def entries(
    request: Request,
    pseudonym: PseudonymPath,
    page: Annotated[Page, Depends(paged)],
    wanted: Annotated[LogFilter, Depends(filtered)],
    mandate: Mandate = None,
) -> OwnEntriesOut:
    """List the entries about the subject, newest first: decisions, what was said, and who looked."""
    (before,) = page.after(int) or (None,)
    ref = await admitted(request, What.ENTRIES, mandate)
    found = await records_of(request).from_ledger(
        lambda held: held.entries(ref, wanted, before=before, limit=page.rows)
    )
    shown = page.cut(found, lambda own: (own.index,))
    return OwnEntriesOut(entries=[OwnEntryOut.of(own, pseudonym) for own in shown])
