"""What was said about a subject: their own history, in pages."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from passerelle_consent.records.history import history
from passerelle_consent.records.http.access import GuardedRoute
from passerelle_consent.records.http.bodies import AgreementId, HistoryOut, SaidOut
from passerelle_consent.records.http.calls import PseudonymPath, reading_of, records_of, subject_of
from passerelle_consent.records.http.pages import Page, paged
from passerelle_consent.records.words import What

router = APIRouter(route_class=GuardedRoute)


@router.get("/v1/subjects/{pseudonym}/changes")
async def changes(
    request: Request,
    pseudonym: PseudonymPath,  # noqa: ARG001 - `subject_of` reads it
    page: Annotated[Page, Depends(paged)],
    agreement: Annotated[AgreementId | None, Query(description="About this agreement only, in any version.")] = None,
) -> HistoryOut:
    """List what was said, newest first: given, refused, withdrawn, objected, and by whom."""
    records, subject = records_of(request), subject_of(request)
    (before,) = page.after(int) or (None,)
    script = partial(
        history,
        ref=subject.ref,
        agreement=agreement,
        guardian=subject.guardian,
        before=before,
        limit=page.rows,
        now_ms=records.now_ms(),
    )
    shown = page.cut(
        await records.show(script, reading_of(request, subject, What.CHANGES)), lambda said: (said.change.revision,)
    )
    return HistoryOut(changes=[SaidOut.of(said) for said in shown])
