"""Whether a delivery that a recipient holds may still be handed on: asked before it is tried again.

The gate decided when it released the delivery. A recipient's own systems may take it minutes later, and the citizen may
have withdrawn meanwhile. The recipient learns no more than the gate's decision on its own flow: no standing, and no
other department's. So this is no reading of a person's data, and the journal does not tell of it.
"""

from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, StringConstraints

from passerelle_consent.records import problems
from passerelle_consent.records.http.access import GuardedRoute
from passerelle_consent.records.http.answers import refuses
from passerelle_consent.records.http.bodies import Hex16, In, example
from passerelle_consent.records.http.calls import department_of, records_of
from passerelle_consent.records.ports import Pseudonym
from passerelle_consent.records.problems import Problem

router = APIRouter(route_class=GuardedRoute)


class CheckIn(In, **example({"flow": "meal-tariff.schools", "pseudonym": "5c0f3a9e7b1d4286a0e4c97f1b62d83a"})):
    """A flow to the caller's department, and its own pseudonym of the person."""

    flow: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9.-]{0,199}$")]
    pseudonym: Hex16


class CheckOut(BaseModel):
    """What the gate would decide now. ``withheld``: fields that may no longer be handed on."""

    verdict: Literal["permit", "redact", "deny"]
    reason: str
    withheld: list[str]


@router.post("/v1/deliveries/check")
@refuses(problems.NOT_THE_RECIPIENT)
async def check(request: Request, body: CheckIn) -> CheckOut:
    """Decide again about a delivery of the caller's own, by what is recorded at this moment."""
    records, department = records_of(request), department_of(request)
    if not any(flow.id == body.flow and flow.recipient == department for flow in records.flows):
        raise Problem(problems.NOT_THE_RECIPIENT)
    ref = records.register.ref(department, Pseudonym(bytes.fromhex(body.pseudonym)))
    decision = await records.decide(ref, body.flow)
    return CheckOut(verdict=decision.verdict.value, reason=decision.reason.value, withheld=list(decision.withheld))
