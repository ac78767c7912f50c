"""Overrides for vital interests (GDPR Art. 6(1)(d))."""

from functools import partial
from typing import Annotated, Self

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel

from passerelle_consent.records import overrides, problems
from passerelle_consent.records.changes import Change
from passerelle_consent.records.http.access import GuardedRoute
from passerelle_consent.records.http.answers import refuses
from passerelle_consent.records.http.bodies import ChangeOut, Hex16, In, OverrideIn, example, maybe_rfc3339, rfc3339
from passerelle_consent.records.http.calls import (
    Call,
    PseudonymPath,
    called,
    department_of,
    principal_of,
    reading_of,
    readings_of,
    records_of,
    subject_of,
)
from passerelle_consent.records.http.pages import Page, paged
from passerelle_consent.records.notices import NEWEST
from passerelle_consent.records.overrides import Opened, Review
from passerelle_consent.records.ports import Pseudonym, Role
from passerelle_consent.records.problems import Problem
from passerelle_consent.records.reading import of_each
from passerelle_consent.records.words import What

router = APIRouter(route_class=GuardedRoute)

HOUR_MS = 3_600_000


@router.post("/v1/subjects/{pseudonym}/overrides")
@refuses(problems.UNKNOWN_AGREEMENT, problems.NOT_VITAL_INTERESTS, problems.NOT_IN_FORCE)
async def override(call: Annotated[Call, Depends(called)], body: OverrideIn) -> ChangeOut:
    """Open agreements for one subject's vital interests (GDPR Art. 6(1)(d))."""
    records = records_of(call.request)
    asked = call.asked("override", body)

    def script(conn: sa.Connection) -> Change:
        agreements = records.book.vital(body.agreements, asked.at_ms)
        until_ms = asked.at_ms + body.hours * HOUR_MS
        return overrides.open_override(
            conn, asked, agreements=agreements, reason_code=body.reason_code, until_ms=until_ms
        )

    return call.answer(await records.change(asked, script), await records.standing(asked.ref))


class ReviewIn(In, **example({"outcome": "justified"})):
    """What another officer found."""

    outcome: Review


class OpenedOut(BaseModel):
    """An override that nobody has reviewed. `pseudonym` is an officer's department's, None for others.

    `officer` is the subject of the token that opened it.
    """

    id: str
    pseudonym: str | None
    department: str
    agreements: list[str]
    recipient: str
    officer: str
    reason_code: str
    opened_at: str
    until: str
    review_due_at: str
    overdue: bool

    @classmethod
    def of(cls, opened: Opened, pseudonym: Pseudonym | None, now_ms: int) -> Self:
        """Ids as hexadecimal, times as RFC 3339."""
        return cls(
            id=opened.id.hex(),
            pseudonym=None if pseudonym is None else pseudonym.hex(),
            department=opened.department,
            agreements=list(opened.agreements),
            recipient=opened.recipient,
            officer=opened.principal,
            reason_code=opened.reason_code,
            opened_at=rfc3339(opened.opened_ms),
            until=rfc3339(opened.until_ms),
            review_due_at=rfc3339(opened.review_due_ms),
            overdue=opened.review_due_ms <= now_ms,
        )


class OverriddenOut(BaseModel):
    """What an officer opened for vital interests, and what another one found."""

    id: str
    agreements: list[str]
    recipient: str
    department: str
    reason_code: str
    opened_at: str
    until: str
    review: str | None
    reviewed_at: str | None

    @classmethod
    def of(cls, opened: Opened) -> Self:
        """Ids as hexadecimal, times as RFC 3339. The officers are not named: they are no part of the citizen's data."""
        return cls(
            id=opened.id.hex(),
            agreements=list(opened.agreements),
            recipient=opened.recipient,
            department=opened.department,
            reason_code=opened.reason_code,
            opened_at=rfc3339(opened.opened_ms),
            until=rfc3339(opened.until_ms),
            review=opened.review,
            reviewed_at=maybe_rfc3339(opened.reviewed_ms),
        )


class OverriddenPageOut(BaseModel):
    """A page of what was opened, the newest first."""

    overrides: list[OverriddenOut]


@router.get("/v1/subjects/{pseudonym}/overrides")
async def of_subject(
    request: Request,
    pseudonym: PseudonymPath,  # noqa: ARG001 - `subject_of` reads it
    page: Annotated[Page, Depends(paged)],
) -> OverriddenPageOut:
    """List what was opened for the citizen's vital interests: by which department, why, and whether it was justified.

    The notice of an opening has its id.
    """
    records, subject = records_of(request), subject_of(request)
    await records.admit_reading(subject.ref, subject.guardian, reading_of(request, subject, What.OVERRIDES))
    before = page.after(int, bytes) or (NEWEST, b"")
    script = partial(overrides.of_subject, ref=subject.ref, before=before, limit=page.rows)
    shown = page.cut(await records.read(script), lambda opened: (opened.opened_ms, opened.id))
    return OverriddenPageOut(overrides=[OverriddenOut.of(opened) for opened in shown])


class UnreviewedOut(BaseModel):
    """A page of what is unreviewed, the oldest first."""

    overrides: list[OpenedOut]


@router.get("/v1/overrides")
async def unreviewed(request: Request, page: Annotated[Page, Depends(paged)]) -> UnreviewedOut:
    """List the overrides that no second officer has looked at.

    Officers, who review them, see of whom; each subject can see that somebody looked. Others see that they are there.
    """
    records, officer = records_of(request), Role.OFFICER in principal_of(request).roles
    after = page.after(int, bytes) or (-1, b"")
    script = partial(overrides.unreviewed, after=after, limit=page.rows)
    told = of_each(script, shown=page.limit, reading=readings_of(request, What.OVERRIDES)) if officer else script
    found = await (records.write(told) if officer else records.read(script))
    shown = page.cut(found, lambda opened: (opened.opened_ms, opened.id))
    refs = [opened.ref for opened in shown]
    known = records.register.pseudonyms(department_of(request), refs) if officer else [None] * len(shown)
    now_ms = records.now_ms()
    return UnreviewedOut(overrides=[OpenedOut.of(o, p, now_ms) for o, p in zip(shown, known, strict=True)])


@router.post("/v1/subjects/{pseudonym}/overrides/{override}/review")
@refuses(problems.UNKNOWN_OVERRIDE, problems.REVIEWED_ALREADY, problems.OWN_OVERRIDE)
async def review(
    call: Annotated[Call, Depends(called)], override: Annotated[Hex16, Path()], body: ReviewIn
) -> ChangeOut:
    """Review another officer's override. One that was not justified ends: 202 until nothing passes under it."""
    records = records_of(call.request)
    asked = call.asked(f"review {override}", body)
    ident = bytes.fromhex(override)
    if (await records.read(partial(overrides.find, override=ident))).ref != asked.ref:
        raise Problem(problems.UNKNOWN_OVERRIDE)
    script = partial(overrides.review, asked=asked, override=ident, outcome=body.outcome)
    return call.answer(await records.change(asked, script))
