"""Restriction of processing (GDPR Art. 18)."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from passerelle_consent.records import problems, restrictions
from passerelle_consent.records.http.access import GuardedRoute
from passerelle_consent.records.http.answers import refuses
from passerelle_consent.records.http.bodies import ChangeOut, In, example, rfc3339
from passerelle_consent.records.http.calls import Call, called, records_of
from passerelle_consent.records.restrictions import Ground

router = APIRouter(route_class=GuardedRoute)


class RestrictIn(In, **example({"ground": "18-1-a"})):
    """Why (Art. 18(1)): accuracy contested, unlawful, needed for claims, an objection that is being looked at."""

    ground: Ground


class NothingIn(In, **example({})):
    """Nothing more is to be said."""


class AnnouncedOut(BaseModel):
    """From when on the restriction may be lifted: the citizen was told."""

    lifting_at: str


@router.post("/v1/subjects/{pseudonym}/restriction")
@refuses(problems.RESTRICTED_ALREADY)
async def restrict(call: Annotated[Call, Depends(called)], body: RestrictIn) -> ChangeOut:
    """Restrict. 200 once nothing but what Art. 18(2) leaves can be delivered any more; 202 until then."""
    asked = call.asked("restrict", body)
    script = partial(restrictions.restrict, asked=asked, ground=body.ground)
    return call.answer(await records_of(call.request).change(asked, script))


@router.post("/v1/subjects/{pseudonym}/restriction/announcement")
@refuses(problems.NOT_RESTRICTED)
async def announce(call: Annotated[Call, Depends(called)], body: NothingIn) -> AnnouncedOut:
    """Tell the citizen that the restriction is to be lifted (Art. 18(3))."""
    asked = call.asked("announce", body)
    return AnnouncedOut(
        lifting_at=rfc3339(await records_of(call.request).write(partial(restrictions.announce, asked=asked)))
    )


@router.post("/v1/subjects/{pseudonym}/restriction/lifting")
@refuses(problems.NOT_RESTRICTED, problems.LIFTING_NOT_ANNOUNCED, problems.CANNOT_SPEAK)
async def lift(call: Annotated[Call, Depends(called)], body: NothingIn) -> ChangeOut:
    """Lift: the citizen at once, an officer seven days after the announcement."""
    asked = call.asked("lift", body)
    change = await records_of(call.request).change(asked, partial(restrictions.lift, asked=asked))
    return call.answer(change, await records_of(call.request).standing(asked.ref))
