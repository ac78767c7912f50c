"""Erasure (GDPR Art. 17): what goes and what the law keeps, one explicit yes, and then what happened.

Whoever is erased is signed out, everywhere: no session of theirs speaks for anybody any more. What happened is kept for
a quarter of an hour for the browser that asked, under a random token, since nobody can be asked for it afterwards.
"""

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from starlette.responses import RedirectResponse, Response

from passerelle.issuer import Bearing
from passerelle.web.citizen.family import OF_WARD, AboutWhom, Whom
from passerelle.web.rendering import page
from passerelle.web.service import Refused
from passerelle.web.sessions import Session
from passerelle.web.signing_in.routes import AFTER
from passerelle.web.visit import SESSION_COOKIE, Anybody, Citizen, Form, Visit

router = APIRouter()

COOKIE = "erased"
DONE = "/compte/effacement/faite"
KEPT_MS = 15 * 60_000
KEPT_MAX = 5_000
AGREEMENTS_MAX = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Farewell:
    """What one erasure did."""

    erasure: Mapping[str, Any]
    asked_by: Bearing = field(repr=False)
    """Who may ask whether it has taken effect until it has; then anybody may."""
    of_a_ward: bool
    goodbye: str | None = field(repr=False)
    """Where the browser ends the provider's session."""
    at_ms: int


class Farewells:
    """Erasures by the token of the browser that asked. Bounded, in memory, forgotten after some minutes."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._held: OrderedDict[bytes, Farewell] = OrderedDict()

    def keep(self, farewell: Farewell) -> str:
        """Keep it; return the browser's token."""
        token = secrets.token_urlsafe(24)
        self._held[_hash(token)] = farewell
        while len(self._held) > KEPT_MAX:
            self._held.popitem(last=False)
        return token

    def find(self, token: str | None) -> Farewell | None:
        """Return what a browser may see."""
        found = self._held.get(_hash(token or ""))
        return None if found is None or self._clock() - found.at_ms > KEPT_MS else found


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


@router.get("/compte/effacement")
@router.get(OF_WARD + "/effacement")
async def before(visit: Citizen, whom: AboutWhom) -> Response:
    """Say what follows, and ask for the yes."""
    return await _asked(visit, whom)


@router.post("/compte/effacement")
@router.post(OF_WARD + "/effacement")
async def erase(visit: Citizen, whom: AboutWhom, form: Form) -> Response:
    """Erase, if the box was ticked. Pressing twice is asking once."""
    if form.get("compris") != "oui":
        return await _asked(visit, whom, lacking=True)
    key = str(form.get("form-key", "")) or None
    path = f"/v1/subjects/{whom.subject}/erasure"
    erased = await visit.site.consent.change(visit.who, "POST", path, {}, key=key)
    session = visit.session
    goodbye = None if session is None or whom.relative is not None else await _goodbye(visit, session)
    farewell = Farewell(
        erasure=erased.body,
        asked_by=visit.who,
        of_a_ward=whom.relative is not None,
        goodbye=goodbye,
        at_ms=visit.site.clock(),
    )
    answer = RedirectResponse(visit.to(DONE), status_code=303)
    token = farewells(visit).keep(farewell)
    answer.set_cookie(COOKIE, token, secure=visit.site.https, httponly=True, samesite="lax", max_age=KEPT_MS // 1000)
    if whom.relative is None and session is not None:
        visit.site.sessions.end_at(session.issuer, subject=session.subject, sid=None)
        answer.delete_cookie(SESSION_COOKIE)
    elif session is not None:
        session.labels.pop(whom.subject, None)
        session.wards = None
    return answer


@router.get(DONE)
async def after(visit: Anybody) -> Response:
    """What happened: nobody is signed in, unless it was a ward who was erased."""
    farewell = farewells(visit).find(visit.request.cookies.get(COOKIE))
    if farewell is None:
        return RedirectResponse(visit.to("/"), status_code=303)
    in_effect = farewell.erasure["status"] == "in-effect" or await _in_effect(visit, farewell)
    return page(
        visit,
        "account/erased.html",
        erasure=farewell.erasure,
        farewell=farewell,
        in_effect=in_effect,
        kept=await _kept(visit, farewell.erasure["kept_by_law"]),
    )


def farewells(visit: Visit) -> Farewells:
    """The site's; made at first use."""
    held = visit.site.extras.setdefault(Farewells, Farewells(visit.site.clock))
    assert isinstance(held, Farewells)  # noqa: S101 - put there under its type
    return held


async def _asked(visit: Visit, whom: Whom, *, lacking: bool = False) -> Response:
    status = 422 if lacking else 200
    kept = [one for one in (await _register(visit)).values() if one["basis"] in ("6-1-c", "6-1-e")]
    return page(visit, "account/erasure.html", status=status, whom=whom, kept=kept, lacking=lacking)


async def _register(visit: Visit) -> dict[str, Mapping[str, Any]]:
    """What is in force, by `id@version`."""
    today = datetime.fromtimestamp(visit.site.clock() / 1000, visit.site.zone).date().isoformat()
    answer = await visit.site.consent.public("/v1/agreements", limit=AGREEMENTS_MAX, in_force_on=today)
    return {one["agreement"]: one for one in answer.body["agreements"]}


async def _kept(visit: Visit, kept: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What the erasure's answer says that the law keeps, with its purpose in the register's words."""
    known = await _register(visit)
    return [known[one["agreement"]] for one in kept if one["agreement"] in known]


async def _in_effect(visit: Visit, farewell: Farewell) -> bool:
    path = f"/v1/acknowledgements/{farewell.erasure['acknowledgement']}"
    try:
        answer = await visit.site.consent.read(farewell.asked_by, path)
    except Refused:
        return False
    return bool(answer.body["status"] == "in-effect")


async def _goodbye(visit: Visit, session: Session) -> str | None:
    provider = visit.site.providers.get(session.person.audience)
    if provider is None:
        return None
    back = visit.site.public_url + AFTER
    return await provider.goodbye(session.id_token, back, secrets.token_urlsafe(16))
