"""The officers' small office: overrides to review, objections to answer, guardianships to record and to end."""

import asyncio
from datetime import date, datetime, time
from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.responses import RedirectResponse, Response

from passerelle.web.office import guardians
from passerelle.web.office.desk import answer_body, waiting
from passerelle.web.rendering import page
from passerelle.web.service import Answer, Refused
from passerelle.web.sessions import Audience
from passerelle.web.visit import Anybody, Form, NeedsSignIn, NotForYou, Officer, Visit

router = APIRouter(prefix="/agents")
router.include_router(guardians.router)

Hex16 = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
HOMES = {"auditor": "/audit", "operator": "/controle"}
"""Where whoever is no officer begins."""
SHOWN = 50
RELATIONS = ("parent", "tutor", "curator")
REVIEWS = ("justified", "not-justified")
SETTLED_BY_OTHERS = frozenset({"reviewed-already", "objection-answered", "unknown-objection", "unknown-override"})


@router.get("")
async def office(visit: Anybody) -> Response:
    """The desk of an officer; others of the city begin at their own page."""
    if visit.person is None or visit.person.audience is not Audience.STAFF:
        raise NeedsSignIn(Audience.STAFF)
    if visit.person.may("officer"):
        said = visit.request.query_params.get("fait", "")
        return await _desk(visit, said=said if said in ("verifie", "repondu") else "")
    home = next((path for scope, path in HOMES.items() if visit.person.may(scope)), None)
    if home is None:
        raise NotForYou
    return RedirectResponse(visit.to(home), status_code=303)


@router.post("/urgences/{pseudonym}/{override}")
async def review(visit: Officer, form: Form, pseudonym: Hex16, override: Hex16) -> Response:
    """Say whether another officer's override was justified."""
    outcome = str(form.get("verdict", ""))
    if outcome not in REVIEWS:
        return await _desk(visit, status=422, trouble="lacking")
    path = f"/v1/subjects/{pseudonym}/overrides/{override}/review"
    return await _settled(visit, form, path, {"outcome": outcome}, said="verifie")


@router.post("/oppositions/{pseudonym}/{objection}")
async def answer(visit: Officer, form: Form, pseudonym: Hex16, objection: Hex16) -> Response:
    """Answer an objection: it is followed, or a compelling ground lets the sharing go on (GDPR Art. 21(1))."""
    body = answer_body(*(str(form.get(name, "")) for name in ("reponse", "motif", "loi")))
    if body is None:
        return await _desk(visit, status=422, trouble="ground", at=objection)
    path = f"/v1/subjects/{pseudonym}/objections/{objection}/answer"
    return await _settled(visit, form, path, body, said="repondu", at=objection)


@router.get("/representants")
async def guardianship(visit: Officer) -> Response:
    """The form that records who speaks for whom."""
    recorded = visit.request.query_params.get("recu") is not None
    return page(visit, "office/guardianship.html", relations=RELATIONS, form={}, trouble="", recorded=recorded)


@router.post("/representants")
async def record(visit: Officer, form: Form) -> Response:
    """Record a guardianship, from a civil record or a judgment that is named."""
    said = {name: str(form.get(name, "")).strip() for name in ("personne", "qui", "relation", "piece", "du", "au")}
    body = _guardianship(visit, said)
    trouble = "" if body is not None else "malformed-request"
    if body is not None:
        path, key = f"/v1/subjects/{said['personne']}/guardians", str(form.get("form-key", "")) or None
        try:
            await visit.site.consent.change(visit.who, "POST", path, body, key=key)
        except Refused as refused:
            trouble = refused.kind
    if not trouble:
        return RedirectResponse(visit.to("/agents/representants", recu="1"), status_code=303)
    return page(
        visit,
        "office/guardianship.html",
        status=422,
        relations=RELATIONS,
        form=said,
        trouble=trouble,
        recorded=False,
    )


async def _desk(visit: Visit, *, status: int = 200, said: str = "", trouble: str = "", at: str = "") -> Response:
    read = visit.site.consent.read
    attention, overrides, objections = await asyncio.gather(
        read(visit.who, "/v1/operations/attention"),
        read(visit.who, "/v1/overrides", limit=SHOWN),
        read(visit.who, "/v1/objections", limit=SHOWN),
    )
    desk = waiting(attention.body, overrides.body, objections.body, visit.say)
    more = _more(overrides) or _more(objections)
    return page(visit, "office/desk.html", status=status, desk=desk, said=said, trouble=trouble, at=at, more=more)


def _more(listed: Answer) -> bool:
    return listed.next_cursor is not None


async def _settled(visit: Visit, form: Form, path: str, body: dict[str, str], *, said: str, at: str = "") -> Response:
    """Do it once; what another officer was quicker to do, or may alone do, is said on the page of now."""
    try:
        await visit.site.consent.change(visit.who, "POST", path, body, key=str(form.get("form-key", "")) or None)
    except Refused as refused:
        if refused.kind in SETTLED_BY_OTHERS:
            return await _desk(visit, status=409, trouble="settled")
        if refused.kind not in ("own-override", "malformed-request", "illegal-transition"):
            raise
        return await _desk(visit, status=409, trouble=refused.kind, at=at)
    return RedirectResponse(visit.to("/agents", fait=said), status_code=303)


def _guardianship(visit: Visit, said: dict[str, str]) -> dict[str, Any] | None:
    """Return the body that the service takes; None where a date is none, or what is asked lacks."""
    try:
        begins = _midnight(visit, said["du"])
        ends = _midnight(visit, said["au"]) if said["au"] else None
    except ValueError:
        return None
    if not all(said[name] for name in ("personne", "qui", "relation", "piece")):
        return None
    asked = {"guardian": said["qui"], "relation": said["relation"], "evidence": said["piece"], "valid_from": begins}
    return asked if ends is None else {**asked, "until": ends}


def _midnight(visit: Visit, day: str) -> str:
    """Raises `ValueError`."""
    return datetime.combine(date.fromisoformat(day), time(), visit.site.zone).isoformat()
