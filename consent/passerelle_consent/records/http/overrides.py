"""Overrides for vital interests (GDPR Art. 6(1)(d))."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends

from passerelle_consent.records import overrides
from passerelle_consent.records.http.access import GuardedRoute
from passerelle_consent.records.http.bodies import ChangeOut, OverrideIn
from passerelle_consent.records.http.calls import Call, called, records_of

router = APIRouter(route_class=GuardedRoute)

HOUR_MS = 3_600_000


@router.post("/v1/subjects/{pseudonym}/overrides")
async def override(call: Annotated[Call, Depends(called)], body: OverrideIn) -> ChangeOut:
    """Open a recipient for one subject's vital interests (GDPR Art. 6(1)(d))."""
    records = records_of(call.request)
    asked = call.asked("override", body)
    records.book.check_override_recipient(body.recipient, asked.at_ms)
    script = partial(
        overrides.open_override,
        asked=asked,
        recipient=body.recipient,
        officer=body.officer,
        reason_code=body.reason_code,
        until_ms=asked.at_ms + body.hours * HOUR_MS,
    )
    return call.answer(await records.change(asked, script), await records.standing(asked.ref))
