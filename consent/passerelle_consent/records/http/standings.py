"""What a subject's standing is, and whether a change has taken effect."""

from typing import Annotated

from fastapi import APIRouter, Path, Request

from passerelle_consent.records import problems
from passerelle_consent.records.http.access import GuardedRoute
from passerelle_consent.records.http.bodies import ChangeOut, Hex16, StandingOut
from passerelle_consent.records.http.calls import PseudonymPath, principal_of, reading_of, records_of, subject_of
from passerelle_consent.records.problems import Problem
from passerelle_consent.records.words import What

router = APIRouter(route_class=GuardedRoute)


@router.get("/v1/subjects/{pseudonym}/standing")
async def standing(request: Request, pseudonym: PseudonymPath) -> StandingOut:  # noqa: ARG001 - `subject_of` reads it
    """Return the subject's standing."""
    subject = subject_of(request)
    reading = reading_of(request, subject, What.STANDING)
    return StandingOut.of(await records_of(request).standing(subject.ref, guardian=subject.guardian, reading=reading))


@router.get("/v1/acknowledgements/{acknowledgement}")
async def acknowledgement(request: Request, acknowledgement: Annotated[Hex16, Path()]) -> ChangeOut:
    """Say whether a change has taken effect. Others' acknowledgements are as unknown as those that never were.

    An erasure that has taken effect is nobody's any more: whoever knows its id may hear that it has.
    """
    change = await records_of(request).find(bytes.fromhex(acknowledgement))
    if change is None or change.principal not in ("", principal_of(request).name):
        raise Problem(problems.UNKNOWN_ACKNOWLEDGEMENT)
    return ChangeOut.of(change)
