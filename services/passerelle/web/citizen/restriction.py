"""Restriction of processing, asked for and lifted (GDPR Art. 18)."""

import asyncio
import re
from datetime import UTC, datetime

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from passerelle.web.citizen.account import Person
from passerelle.web.citizen.family import OF_WARD, AboutWhom, Whom
from passerelle.web.rendering import page
from passerelle.web.service import Answer, Refused
from passerelle.web.visit import Citizen, Form, Visit

router = APIRouter()

GROUNDS = ("18-1-a", "18-1-b", "18-1-c", "18-1-d")
SETTLED_ALREADY = frozenset({"restricted-already", "not-restricted", "stale-etag"})
"""In another tab, or by a guardian: the page then shows what holds now, and says so."""
_ID = re.compile(r"[0-9a-f]{32}")


@router.get("/compte/limitation")
@router.get(OF_WARD + "/limitation")
async def restriction(visit: Citizen, whom: AboutWhom) -> Response:
    """Whether there is one, what it does, and the form to ask for it or to lift it."""
    accused = visit.request.query_params.get("recu", "")
    change, standing = await asyncio.gather(_change(visit, accused), _standing(visit, whom))
    return _shown(visit, whom, standing, change=change)


@router.post("/compte/limitation")
@router.post(OF_WARD + "/limitation")
async def restrict(visit: Citizen, whom: AboutWhom, form: Form) -> Response:
    """Restrict."""
    ground = str(form.get("motif", ""))
    if ground not in GROUNDS:
        return _shown(visit, whom, await _standing(visit, whom), status=422, lacking=True)
    return await _done(visit, whom, "restriction", {"ground": ground}, form)


@router.post("/compte/limitation/levee")
@router.post(OF_WARD + "/limitation/levee")
async def lift(visit: Citizen, whom: AboutWhom, form: Form) -> Response:
    """Lift."""
    return await _done(visit, whom, "restriction/lifting", {}, form)


async def _done(visit: Visit, whom: Whom, what: str, body: dict[str, str], form: Form) -> Response:
    """Do it once, on the standing that was shown; then the page of what holds now."""
    key, seen = str(form.get("form-key", "")) or None, str(form.get("vu", "")) or None
    path = f"/v1/subjects/{whom.subject}/{what}"
    try:
        answer = await visit.site.consent.change(visit.who, "POST", path, body, key=key, if_match=seen)
    except Refused as refused:
        if refused.kind not in SETTLED_ALREADY | {"cannot-speak"}:
            raise
        return _shown(visit, whom, await _standing(visit, whom), status=409, refused=refused.kind)
    where = visit.to(f"{whom.account}/limitation", recu=answer.body["acknowledgement"])
    return RedirectResponse(where, status_code=303)


def _shown(
    visit: Visit,
    whom: Whom,
    standing: Answer,
    *,
    status: int = 200,
    change: Answer | None = None,
    refused: str = "",
    lacking: bool = False,
) -> Response:
    person = Person.of(standing.body, datetime.fromtimestamp(visit.site.clock() / 1000, UTC))
    return page(
        visit,
        "account/restriction.html",
        status=status,
        whom=whom,
        person=person,
        seen=standing.etag,
        grounds=GROUNDS,
        may_lift=person.lifted_by(whom.relative),
        change=None if change is None else change.body,
        refused=refused,
        lacking=lacking,
    )


async def _standing(visit: Visit, whom: Whom) -> Answer:
    return await visit.site.consent.read(visit.who, f"/v1/subjects/{whom.subject}/standing")


async def _change(visit: Visit, acknowledgement: str) -> Answer | None:
    """What became of the change that the address names. Raises `HTTPException` where there is none of this person's."""
    if not acknowledgement:
        return None
    if not _ID.fullmatch(acknowledgement):
        raise HTTPException(404)
    return await visit.site.consent.read(visit.who, f"/v1/acknowledgements/{acknowledgement}")
