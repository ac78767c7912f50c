"""Erasure (GDPR Art. 17), and what recipients say of their copies (Art. 19)."""

from functools import partial
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel

from passerelle_consent.policy.agreements import Agreement
from passerelle_consent.records import erasure, problems
from passerelle_consent.records.changes import Change
from passerelle_consent.records.erasure import Notice
from passerelle_consent.records.http.access import GuardedRoute
from passerelle_consent.records.http.answers import refuses
from passerelle_consent.records.http.bodies import EraseIn, Hex16, maybe_rfc3339
from passerelle_consent.records.http.calls import Call, called, department_of, records_of
from passerelle_consent.records.http.pages import Page, paged

router = APIRouter(route_class=GuardedRoute)

ErasurePath = Annotated[Hex16, Path()]


class KeptOut(BaseModel):
    """A sharing that the law asks for: its parties may keep what they hold, and link the person anew (Art. 17(3))."""

    agreement: str
    departments: list[str]
    law: str | None

    @classmethod
    def of(cls, agreement: Agreement) -> Self:
        """Both parties hold it."""
        return cls(agreement=agreement.ref, departments=[agreement.source, agreement.recipient], law=agreement.law)


class ErasureOut(BaseModel):
    """An erasure: its id is the acknowledgement's too."""

    acknowledgement: str
    status: Literal["in-effect", "taking-effect"]
    state: str
    recorded_at: str
    acknowledged_at: str | None
    notified: list[str]
    """Departments whose inboxes get, or have got, a notice."""
    kept_by_law: list[KeptOut]


class ErasureNoticeOut(BaseModel):
    """What one recipient was told, and whether its copies are gone."""

    erasure: str
    department: str
    notified_at: str | None
    due_at: str | None
    acknowledged_at: str | None
    overdue: bool

    @classmethod
    def of(cls, notice: Notice, now_ms: int) -> Self:
        """Ids as hexadecimal, times as RFC 3339."""
        return cls(
            erasure=notice.id.hex(),
            department=notice.department,
            notified_at=maybe_rfc3339(notice.notified_at_ms),
            due_at=maybe_rfc3339(notice.due_at_ms),
            acknowledged_at=maybe_rfc3339(notice.acknowledged_at_ms),
            overdue=notice.overdue(now_ms),
        )


class ErasureNoticesOut(BaseModel):
    """One page."""

    notices: list[ErasureNoticeOut]


@router.post("/v1/subjects/{pseudonym}/erasure")
@refuses(problems.SPEAKER, problems.GUARDIAN_NEEDED)
async def erase(call: Annotated[Call, Depends(called)], body: EraseIn) -> ErasureOut:
    """Erase a subject. 200 once the gate has forgotten it and every recipient's inbox says so; 202 until then."""
    records = records_of(call.request)
    asked = call.asked("erasure", body)
    script = partial(erasure.erase, asked=asked, book=records.book, departments=records.register.departments)
    change = await records.change(asked, script)
    told = await records.read(partial(erasure.told, erasure=change.id))
    return _out(call, change, told, records.book.kept_by_law(asked.at_ms))


def _out(call: Call, change: Change, told: list[Notice], kept: list[Agreement]) -> ErasureOut:
    answer = call.answer(change)
    return ErasureOut(
        acknowledgement=answer.acknowledgement,
        status=answer.status,
        state=answer.state,
        recorded_at=answer.recorded_at,
        acknowledged_at=answer.acknowledged_at,
        notified=[notice.department for notice in told],
        kept_by_law=[KeptOut.of(agreement) for agreement in kept],
    )


@router.post("/v1/erasures/{erasure_id}/acknowledgement")
@refuses(problems.UNKNOWN_ERASURE)
async def confirm(request: Request, erasure_id: ErasurePath) -> ErasureNoticeOut:
    """Say, as a recipient, that one's copies are gone or that a ground of Art. 17(3) keeps them."""
    records = records_of(request)
    department, now_ms = department_of(request), records.now_ms()
    script = partial(erasure.confirm, erasure=bytes.fromhex(erasure_id), department=department, now_ms=now_ms)
    return ErasureNoticeOut.of(await records.write(script), now_ms)


@router.get("/v1/erasures")
async def notices(
    request: Request,
    page: Annotated[Page, Depends(paged)],
    *,
    overdue: Annotated[bool, Query(description="Only those that were not acknowledged in 30 days.")] = False,
) -> ErasureNoticesOut:
    """Who was told of which erasure, who has acknowledged it, and who is late."""
    records = records_of(request)
    now_ms = records.now_ms()
    after = page.after(bytes, str) or (b"", "")
    script = partial(erasure.notices, after=after, limit=page.rows, overdue_at_ms=now_ms if overdue else None)
    found = page.cut(await records.read(script), lambda notice: (notice.id, notice.department))
    return ErasureNoticesOut(notices=[ErasureNoticeOut.of(notice, now_ms) for notice in found])
