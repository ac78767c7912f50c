"""What somebody in the city must see to."""

from dataclasses import asdict
from functools import partial

from fastapi import APIRouter, Request
from pydantic import BaseModel

from passerelle_consent.records import attention
from passerelle_consent.records.http.access import GuardedRoute
from passerelle_consent.records.http.calls import records_of

router = APIRouter(route_class=GuardedRoute)


class AttentionOut(BaseModel):
    """Counts: overrides not reviewed, objections not answered, erasures not acknowledged, and what is late.

    And the consents that end within 30 days unless they are renewed.
    """

    reviews_open: int
    reviews_overdue: int
    answers_open: int
    answers_overdue: int
    erasures_open: int
    erasures_overdue: int
    consents_ending: int


@router.get("/v1/operations/attention")
async def due(request: Request) -> AttentionOut:
    """Count what is due."""
    records = records_of(request)
    return AttentionOut(**asdict(await records.read(partial(attention.due, now_ms=records.now_ms()))))
