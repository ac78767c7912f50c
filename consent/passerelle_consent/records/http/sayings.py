"""Give, refuse, withdraw, object: what is said about one agreement."""

from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends

from passerelle_consent.records import problems, saying
from passerelle_consent.records.changes import Change
from passerelle_consent.records.http.access import GuardedRoute
from passerelle_consent.records.http.answers import refuses
from passerelle_consent.records.http.bodies import ChangeOut, EndIn, OfficeIn, SayIn
from passerelle_consent.records.http.calls import AgreementPath, Call, called, records_of
from passerelle_consent.records.problems import Problem
from passerelle_consent.records.transitions import Action

router = APIRouter(route_class=GuardedRoute)

_says = refuses(
    problems.UNKNOWN_AGREEMENT,
    problems.WRONG_BASIS,
    problems.NOT_IN_FORCE,
    problems.STALE_NOTICE,
    problems.ILLEGAL_TRANSITION,
    problems.CANNOT_SPEAK,
    problems.NOT_THE_SOURCE,
    problems.SPEAKER,
    problems.GUARDIAN_NEEDED,
    problems.NOT_GUARDIAN,
    problems.GUARDIANSHIP_OVER,
)


@router.post("/v1/subjects/{pseudonym}/agreements/{agreement}/give")
@_says
async def give(call: Annotated[Call, Depends(called)], agreement: AgreementPath, body: SayIn) -> ChangeOut:
    """Give consent, or renew it."""
    return await _say(call, agreement, Action.GIVE, body)


@router.post("/v1/subjects/{pseudonym}/agreements/{agreement}/refuse")
@_says
async def refuse(call: Annotated[Call, Depends(called)], agreement: AgreementPath, body: SayIn) -> ChangeOut:
    """Refuse consent."""
    return await _say(call, agreement, Action.REFUSE, body)


@router.post("/v1/subjects/{pseudonym}/agreements/{agreement}/defer")
@_says
async def defer(call: Annotated[Call, Depends(called)], agreement: AgreementPath, body: SayIn) -> ChangeOut:
    """Answer a request later."""
    return await _say(call, agreement, Action.DEFER, body)


@router.post("/v1/subjects/{pseudonym}/agreements/{agreement}/request")
@_says
async def request_(call: Annotated[Call, Depends(called)], agreement: AgreementPath, body: OfficeIn) -> ChangeOut:
    """Ask for consent, as the source department."""
    return await _say(call, agreement, Action.REQUEST, body)


@router.post("/v1/subjects/{pseudonym}/agreements/{agreement}/revoke")
@_says
async def revoke(call: Annotated[Call, Depends(called)], agreement: AgreementPath, body: OfficeIn) -> ChangeOut:
    """Say that a consent was void. 200 once no delivery under it can be committed any more; 202 until then."""
    return await _say(call, agreement, Action.REVOKE, body)


@router.post("/v1/subjects/{pseudonym}/agreements/{agreement}/invalidate")
@_says
async def invalidate(call: Annotated[Call, Depends(called)], agreement: AgreementPath, body: OfficeIn) -> ChangeOut:
    """Say that a consent no longer fits what is done with it. 200 once it is in effect; 202 until then."""
    return await _say(call, agreement, Action.INVALIDATE, body)


@router.post("/v1/subjects/{pseudonym}/agreements/{agreement}/withdraw")
@_says
async def withdraw(call: Annotated[Call, Depends(called)], agreement: AgreementPath, body: EndIn) -> ChangeOut:
    """Withdraw consent. 200 once no delivery under it can be committed any more; 202 until then."""
    return await _say(call, agreement, Action.WITHDRAW, body)


@router.post("/v1/subjects/{pseudonym}/agreements/{agreement}/object")
@_says
async def object_(call: Annotated[Call, Depends(called)], agreement: AgreementPath, body: EndIn) -> ChangeOut:
    """Object (GDPR Art. 21). 200 once no delivery under the agreement can be committed any more; 202 until then."""
    return await _say(call, agreement, Action.OBJECT, body)


async def _say(call: Call, agreement_id: str, action: Action, body: SayIn | EndIn | OfficeIn) -> ChangeOut:
    records = records_of(call.request)
    notice = None if isinstance(body, OfficeIn) else body.notice
    asked = call.asked(f"{action} {agreement_id}", body)

    def script(conn: sa.Connection) -> Change:
        agreement = records.book.agreement(agreement_id, asked.at_ms)
        if action.by_an_office and agreement.source != asked.department:
            raise Problem(problems.NOT_THE_SOURCE)
        records.book.admit(agreement, action, notice, asked.at_ms)
        return saying.say(conn, asked=asked, agreement=agreement, action=action, notice=notice)

    change = await records.change(asked, script)
    return call.answer(change, None if action.takes_away else await records.standing(asked.ref))
