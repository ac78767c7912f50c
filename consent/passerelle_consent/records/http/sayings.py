"""Give, refuse, withdraw, object: what is said about one agreement."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends

from passerelle_consent.records import saying
from passerelle_consent.records.http.access import GuardedRoute
from passerelle_consent.records.http.bodies import ChangeOut, EndIn, SayIn
from passerelle_consent.records.http.calls import AgreementPath, Call, called, records_of
from passerelle_consent.records.transitions import Action

router = APIRouter(route_class=GuardedRoute)


@router.post("/v1/subjects/{pseudonym}/agreements/{agreement}/give")
async def give(call: Annotated[Call, Depends(called)], agreement: AgreementPath, body: SayIn) -> ChangeOut:
    """Give consent, or renew it."""
    return await _say(call, agreement, Action.GIVE, body)


@router.post("/v1/subjects/{pseudonym}/agreements/{agreement}/refuse")
async def refuse(call: Annotated[Call, Depends(called)], agreement: AgreementPath, body: SayIn) -> ChangeOut:
    """Refuse consent."""
    return await _say(call, agreement, Action.REFUSE, body)


@router.post("/v1/subjects/{pseudonym}/agreements/{agreement}/withdraw")
async def withdraw(call: Annotated[Call, Depends(called)], agreement: AgreementPath, body: EndIn) -> ChangeOut:
    """Withdraw consent. 200 once no delivery under it can be committed any more; 202 until then."""
    return await _say(call, agreement, Action.WITHDRAW, body)


@router.post("/v1/subjects/{pseudonym}/agreements/{agreement}/object")
async def object_(call: Annotated[Call, Depends(called)], agreement: AgreementPath, body: EndIn) -> ChangeOut:
    """Object (GDPR Art. 21). 200 once no delivery under the agreement can be committed any more; 202 until then."""
    return await _say(call, agreement, Action.OBJECT, body)


async def _say(call: Call, agreement_id: str, action: Action, body: SayIn | EndIn) -> ChangeOut:
    records = records_of(call.request)
    asked = call.asked(f"{action} {agreement_id}", body, by=body.by)
    agreement = records.book.agreement(agreement_id, asked.at_ms)
    records.book.admit(agreement, action, body.notice, asked.at_ms)
    script = partial(saying.say, asked=asked, agreement=agreement, action=action, notice=body.notice)
    change = await records.change(asked, script)
    return call.answer(change, None if action.takes_away else await records.standing(asked.ref))
