"""Whether the process answers, and whether it can do all of its work."""

from fastapi import APIRouter, Request

from passerelle_consent.records import problems
from passerelle_consent.records.http.access import GuardedRoute
from passerelle_consent.records.http.answers import refuses
from passerelle_consent.records.http.calls import records_of
from passerelle_consent.records.problems import Problem

router = APIRouter(route_class=GuardedRoute)


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "alive"}


@router.get("/readyz")
@refuses(problems.NOT_READY)
async def readyz(request: Request) -> dict[str, str]:
    """Say whether the service can do all of its work now."""
    why = records_of(request).not_ready()
    if why is not None:
        raise Problem(problems.NOT_READY, why)
    return {"status": "ready"}
