"""Portability (GDPR Art. 20): what a citizen said to the city, in a form that another service can read.

Each thing that was said comes as its signed receipt, so that whoever takes the export in can check it. What became of
the data is no part of what the citizen provided: the export says where to read it (Art. 15).
"""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from passerelle_consent.records import notices, problems
from passerelle_consent.records.history import Said, history
from passerelle_consent.records.http.access import GuardedRoute
from passerelle_consent.records.http.answers import refuses
from passerelle_consent.records.http.bodies import SaidOut, StandingOut, rfc3339
from passerelle_consent.records.http.calls import PseudonymPath, reading_of, records_of, subject_of
from passerelle_consent.records.http.languages import Language, asked_for
from passerelle_consent.records.http.notices import NEWEST, NoticeOut
from passerelle_consent.records.http.receipts import document_of
from passerelle_consent.records.ports import SubjectRef
from passerelle_consent.records.service import Records
from passerelle_consent.records.words import What

PAGE = 500
CHANGES_MAX = 5_000
"""Far more than anybody says in a life; some 10 MB with their receipts."""

router = APIRouter(route_class=GuardedRoute)


class ExportedOut(BaseModel):
    """Something that was said, and its receipt (JWS); null where it was about no agreement."""

    said: SaidOut
    receipt: str | None


class ExportOut(BaseModel):
    """Everything that the citizen said. `complete` is false only beyond some thousands of changes."""

    exported_at: str
    standing: StandingOut
    changes: list[ExportedOut]
    complete: bool
    notices: list[NoticeOut]
    disclosures: str
    keys: str


@router.get("/v1/subjects/{pseudonym}/export")
@refuses(problems.UNKNOWN_AGREEMENT, problems.UNKNOWN_VERSION)
async def export(
    request: Request,
    response: Response,
    pseudonym: PseudonymPath,
    language: Annotated[Language, Depends(asked_for)],
) -> ExportOut:
    """Export what was said, with a signed receipt of each."""
    records, subject = records_of(request), subject_of(request)
    await records.admit_reading(subject.ref, subject.guardian, reading_of(request, subject, What.CHANGES, mandate=None))
    said = await _all_said(records, subject.ref)
    last = (NEWEST, b"")
    told = await records.read(partial(notices.newest, ref=subject.ref, before=last, limit=PAGE))
    response.headers["Content-Disposition"] = 'attachment; filename="passerelle-export.json"'
    return ExportOut(
        exported_at=rfc3339(records.now_ms()),
        standing=StandingOut.of(await records.standing(subject.ref)),
        changes=[_exported(request, subject.ref, one, language) for one in said],
        complete=len(said) < CHANGES_MAX,
        notices=[NoticeOut.of(notice) for notice in told],
        disclosures=f"/v1/subjects/{pseudonym}/disclosures",
        keys="/v1/keys",
    )


async def _all_said(records: Records, ref: SubjectRef) -> list[Said]:
    """Page by page, so that one long history holds nobody up."""
    said: list[Said] = []
    before = None
    while len(said) < CHANGES_MAX:
        script = partial(history, ref=ref, guardian=None, before=before, limit=PAGE, now_ms=records.now_ms())
        page = await records.read(script)
        said += page
        if len(page) < PAGE:
            break
        before = page[-1].change.revision
    return said


def _exported(request: Request, ref: SubjectRef, said: Said, language: str) -> ExportedOut:
    about_an_agreement = said.change.agreement is not None
    receipt = records_of(request).seal.sign(document_of(request, ref, said, language)) if about_an_agreement else None
    return ExportedOut(said=SaidOut.of(said), receipt=receipt)
