"""What the city tells a citizen of its own accord."""

from functools import partial
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel

from passerelle_consent.records import notices, problems
from passerelle_consent.records.http.access import GuardedRoute
from passerelle_consent.records.http.answers import refuses
from passerelle_consent.records.http.bodies import Hex16, maybe_rfc3339, rfc3339
from passerelle_consent.records.http.calls import PseudonymPath, reading_of, records_of, subject_of
from passerelle_consent.records.http.pages import Page, paged
from passerelle_consent.records.notices import Notice
from passerelle_consent.records.words import What
from passerelle_schemas.catalogue import Text

router = APIRouter(route_class=GuardedRoute)


class NoticeOut(BaseModel):
    """A notice in both languages."""

    id: str
    code: str
    agreement: str | None
    recipient: str | None
    at: str
    read_at: str | None
    words: Text

    @classmethod
    def of(cls, notice: Notice) -> Self:
        """Ids as hexadecimal, times as RFC 3339."""
        return cls(
            id=notice.id.hex(),
            code=notice.code.value,
            agreement=notice.agreement,
            recipient=notice.recipient,
            at=rfc3339(notice.at_ms),
            read_at=maybe_rfc3339(notice.read_ms),
            words=notice.words(),
        )


class NoticesOut(BaseModel):
    """A page of notices, the newest first."""

    notices: list[NoticeOut]


@router.get("/v1/subjects/{pseudonym}/notices")
async def newest(
    request: Request,
    pseudonym: PseudonymPath,  # noqa: ARG001 - `subject_of` reads it
    page: Annotated[Page, Depends(paged)],
) -> NoticesOut:
    """List what the citizen was told."""
    records, subject = records_of(request), subject_of(request)
    await records.admit_reading(subject.ref, subject.guardian, reading_of(request, subject, What.NOTICES))
    before = page.after(int, bytes) or (notices.NEWEST, b"")
    script = partial(notices.newest, ref=subject.ref, before=before, limit=page.rows)
    shown = page.cut(await records.read(script), lambda notice: (notice.at_ms, notice.id))
    return NoticesOut(notices=[NoticeOut.of(notice) for notice in shown])


@router.put("/v1/subjects/{pseudonym}/notices/{notice}/read", status_code=204)
@refuses(problems.UNKNOWN_NOTICE)
async def mark_read(
    request: Request,
    pseudonym: PseudonymPath,  # noqa: ARG001 - `subject_of` reads it
    notice: Annotated[Hex16, Path()],
) -> None:
    """Say that a notice was read."""
    records, subject = records_of(request), subject_of(request)
    await records.standing(subject.ref, guardian=subject.guardian)
    ident = bytes.fromhex(notice)
    await records.write(partial(notices.mark_read, ref=subject.ref, notice=ident, at_ms=records.now_ms()))
