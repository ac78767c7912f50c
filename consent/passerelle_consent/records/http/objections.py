"""Objections (GDPR Art. 21): what a department is still to answer, and its answers."""

from functools import partial
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, Field

from passerelle_consent.records import objections, problems
from passerelle_consent.records.http.access import GuardedRoute
from passerelle_consent.records.http.answers import refuses
from passerelle_consent.records.http.bodies import ChangeOut, Code, Hex16, In, example, rfc3339
from passerelle_consent.records.http.calls import Call, called, department_of, readings_of, records_of
from passerelle_consent.records.http.pages import Page, paged
from passerelle_consent.records.objections import Finding, Objection
from passerelle_consent.records.ports import Pseudonym
from passerelle_consent.records.problems import Problem
from passerelle_consent.records.reading import of_each
from passerelle_consent.records.words import What

router = APIRouter(route_class=GuardedRoute)


class AnswerIn(In, **example({"outcome": "resumed", "ground": "waste-collection", "law": "CGCT, article L. 2224-13"})):
    """The answer. To resume names a compelling ground by its code, and the law behind it."""

    outcome: Finding
    ground: Code | None = None
    law: str | None = Field(default=None, pattern=r"^[\w .,’'()°-]{3,120}$", examples=["CGCT, article L. 2122-21"])


class ObjectionOut(BaseModel):
    """An objection that waits for its answer. `pseudonym` is the caller's department's."""

    id: str
    pseudonym: str
    agreement: str
    made_at: str
    due_at: str
    overdue: bool

    @classmethod
    def of(cls, objection: Objection, pseudonym: Pseudonym, now_ms: int) -> Self:
        """Ids as hexadecimal, times as RFC 3339."""
        return cls(
            id=objection.id.hex(),
            pseudonym=pseudonym.hex(),
            agreement=objection.agreement,
            made_at=rfc3339(objection.made_ms),
            due_at=rfc3339(objection.due_ms),
            overdue=objection.overdue(now_ms),
        )


class ObjectionsOut(BaseModel):
    """A page of what is unanswered, the most urgent first."""

    objections: list[ObjectionOut]


@router.get("/v1/objections")
async def unanswered(request: Request, page: Annotated[Page, Depends(paged)]) -> ObjectionsOut:
    """List what the caller's department is still to answer. Whoever objected can see that somebody looked."""
    records, department = records_of(request), department_of(request)
    after = page.after(int, bytes) or (-1, b"")
    script = partial(objections.unanswered, department=department, after=after, limit=page.rows)
    told = of_each(script, shown=page.limit, reading=readings_of(request, What.OBJECTIONS))
    shown = page.cut(await records.write(told), lambda objection: (objection.due_ms, objection.id))
    known = records.register.pseudonyms(department, [objection.ref for objection in shown])
    now_ms = records.now_ms()
    return ObjectionsOut(objections=[ObjectionOut.of(o, p, now_ms) for o, p in zip(shown, known, strict=True)])


@router.post("/v1/subjects/{pseudonym}/objections/{objection}/answer")
@refuses(
    problems.UNKNOWN_OBJECTION,
    problems.OBJECTION_ANSWERED,
    problems.ILLEGAL_TRANSITION,
    problems.GROUND_NEEDED,
    problems.UNKNOWN_AGREEMENT,
)
async def answer(
    call: Annotated[Call, Depends(called)], objection: Annotated[Hex16, Path()], body: AnswerIn
) -> ChangeOut:
    """Answer an objection: uphold it, or resume on a compelling ground."""
    records = records_of(call.request)
    asked = call.asked(f"answer {objection}", body)
    script = partial(objections.find, objection=bytes.fromhex(objection), department=asked.department)
    held = await records.read(script)
    if held.ref != asked.ref:
        raise Problem(problems.UNKNOWN_OBJECTION)
    agreement = records.book.agreement(held.agreement.partition("@")[0], asked.at_ms)
    change = await records.change(
        asked,
        partial(
            objections.answer,
            asked=asked,
            objection=held,
            agreement=agreement,
            outcome=body.outcome,
            ground=body.ground,
            law=body.law,
        ),
    )
    return call.answer(change, await records.standing(asked.ref))
