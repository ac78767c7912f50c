"""Signing in and out, and a form that was sent when the session was over."""

import secrets
from dataclasses import replace

import structlog
from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from passerelle.issuer import Bearing
from passerelle.web.home import ours
from passerelle.web.languages import Language
from passerelle.web.rendering import page
from passerelle.web.sessions import Audience, Person, Session
from passerelle.web.signing_in import identity
from passerelle.web.signing_in.kept import KeptForm
from passerelle.web.signing_in.provider import Provider, SignedIn, SignInFailed
from passerelle.web.site import Site
from passerelle.web.visit import FORM_TOKEN, SESSION_COOKIE, Anybody, Form, NeedsSignIn, Visit, visiting

ASKED_COOKIE = "signing-in"
FORM_COOKIE = "kept-form"
BACK = "/connexion/retour"
AFTER = "/deconnexion/faite"
HOME = {Audience.CITIZEN: "/mes-partages", Audience.STAFF: "/agents"}

router = APIRouter()
_log = structlog.get_logger("web")


@router.get("/connexion")
async def choose(visit: Anybody, request: Request) -> Response:
    """Sign in as a citizen, or as somebody of the city."""
    if visit.person is not None:
        return RedirectResponse(visit.to(HOME[visit.person.audience]), status_code=303)
    return page(
        visit, "sign-in.html", back_to=request.query_params.get("vers", ""), kept=FORM_COOKIE in request.cookies
    )


@router.get("/connexion/{audience}/commencer")
async def begin(visit: Anybody, request: Request, audience: Audience) -> Response:
    """Go to the provider."""
    site = visit.site
    provider = site.providers.get(audience)
    if provider is None:
        return page(visit, "problems/sign-in-failed.html", status=503)
    form = site.kept.form(request.cookies.get(FORM_COOKIE))
    back_to = ours(request.query_params.get("vers", ""), visit.to(HOME[audience]))
    token, asked = site.kept.ask(audience, back_to, form)
    try:
        where = await provider.question(asked, site.public_url + BACK, visit.language.value)
    except SignInFailed as failed:
        return _failed(visit, failed)
    going = RedirectResponse(where, status_code=303)
    _put(going, site, ASKED_COOKIE, token)
    going.delete_cookie(FORM_COOKIE)
    return going


@router.get(BACK)
async def back(visit: Anybody, request: Request) -> Response:
    """Come back from the provider, signed in."""
    site = visit.site
    asked = site.kept.answered(request.cookies.get(ASKED_COOKIE), request.query_params.get("state", ""))
    if asked is None or "code" not in request.query_params:
        return _failed(visit, SignInFailed(request.query_params.get("error", "state")[:40]))
    visit = replace(visit, language=Language.of(asked.back_to))  # the provider knows one address of ours, in French
    provider = site.providers[asked.audience]
    try:
        signed_in = await provider.answer(asked, request.query_params["code"], site.public_url + BACK)
        person = await _person(site, asked.audience, signed_in)
    except SignInFailed as failed:
        return _failed(visit, failed)
    except identity.NoIdentity as missing:
        return _failed(visit, SignInFailed(f"claim {missing.claim}"))
    site.sessions.end(request.cookies.get(SESSION_COOKIE))
    token = site.sessions.begin(_session(site, provider, person, signed_in))
    answer = RedirectResponse(asked.back_to, status_code=303)
    if asked.form is not None:
        answer = RedirectResponse(visit.to("/reprendre"), status_code=303)
        _put(answer, site, FORM_COOKIE, site.kept.keep(asked.form))
    _put(answer, site, SESSION_COOKIE, token)
    answer.delete_cookie(ASKED_COOKIE)
    return answer


@router.get("/reprendre")
async def resume(visit: Anybody, request: Request) -> Response:
    """Show the form that was sent without a session: nothing of it is lost, and nothing is done unasked."""
    form = visit.site.kept.form(request.cookies.get(FORM_COOKIE))
    if form is None or visit.session is None:
        return RedirectResponse(visit.to("/"), status_code=303)
    shown = page(visit, "resume.html", form=form)
    # Kept anew: whoever reloads this page finds it again.
    _put(shown, visit.site, FORM_COOKIE, visit.site.kept.keep(form))
    return shown


@router.post("/deconnexion")
async def sign_out(visit: Anybody, request: Request, _: Form) -> Response:
    """End the session here, then the provider's."""
    site, session = visit.site, visit.session
    site.sessions.end(request.cookies.get(SESSION_COOKIE))
    where: str | None = visit.to(AFTER)
    if session is not None:
        provider = site.providers[session.person.audience]
        state = secrets.token_urlsafe(16)
        where = await provider.goodbye(session.id_token, site.public_url + AFTER, state) or where
    answer = RedirectResponse(str(where), status_code=303)
    answer.delete_cookie(SESSION_COOKIE)
    return answer


@router.get(AFTER)
async def signed_out(visit: Anybody) -> Response:
    """Say so."""
    return page(visit, "signed-out.html")


@router.post("/deconnexion/canal")
async def ended_elsewhere(request: Request) -> Response:
    """End what the provider says is over (OpenID Connect Back-Channel Logout 1.0 §2.5)."""
    site: Site = request.app.state.site
    said = str((await request.form(max_fields=5, max_files=0)).get("logout_token", ""))
    for provider in site.providers.values():
        try:
            subject, sid = await provider.ended(said)
        except SignInFailed:
            continue
        site.sessions.end_at(provider.client.issuer, subject=subject, sid=sid)
        return PlainTextResponse("")
    return PlainTextResponse("invalid_request\n", status_code=400)


async def sign_in_first(request: Request, exc: Exception) -> Response:
    """Handle `NeedsSignIn`: keep what was posted, and ask to sign in."""
    assert isinstance(exc, NeedsSignIn)  # noqa: S101 - registered for it alone
    visit = await visiting(request)
    if request.method == "GET":
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(visit.to("/connexion", vers=visit.to(visit.path) + query), status_code=303)
    answer = RedirectResponse(visit.to("/connexion", vers=visit.to("/")), status_code=303)
    fields = [
        (name, value)
        for name, value in (await request.form(max_files=0)).multi_items()
        if isinstance(value, str) and name != FORM_TOKEN
    ]
    _put(answer, visit.site, FORM_COOKIE, visit.site.kept.keep(KeptForm(path=visit.to(visit.path), fields=fields)))
    return answer


async def _person(site: Site, audience: Audience, signed_in: SignedIn) -> Person:
    """Find out whom the pages speak for. Raises `NoIdentity`, and what the consent service raises."""
    claims = signed_in.claims
    if audience is Audience.STAFF:
        bearing = identity.staff(claims, frozenset(site.departments))
        name = str(claims.get("name") or claims.get("given_name") or claims["sub"])
        return Person(audience=audience, name=name, bearing=bearing)
    desk = Bearing(scopes=["department"], department=site.desk)
    linked = await site.consent.change(desk, "POST", "/v1/links", {"identities": [identity.pivot(claims)]})
    pseudonym = bytes.fromhex(linked.body["pseudonyms"][0])
    bearing = Bearing(scopes=["citizen", "guardian"], department=site.desk, pseudonym=pseudonym)
    return Person(audience=audience, name=identity.greeting(claims), bearing=bearing)


def _session(site: Site, provider: Provider, person: Person, signed_in: SignedIn) -> Session:
    now = site.clock()
    return Session(
        person=person,
        began_ms=now,
        seen_ms=now,
        id_token=signed_in.id_token,
        issuer=provider.client.issuer,
        subject=str(signed_in.claims["sub"]),
        sid=signed_in.claims.get("sid"),
    )


def _failed(visit: Visit, failed: SignInFailed) -> Response:
    _log.warning("sign-in-failed", step=str(failed))
    answer = page(visit, "problems/sign-in-failed.html", status=400)
    answer.delete_cookie(ASKED_COOKIE)
    return answer


def _put(answer: Response, site: Site, name: str, value: str) -> None:
    """A cookie of the browser's session. Lax: one comes back from the provider by a link."""
    answer.set_cookie(name, value, secure=site.https, httponly=True, samesite="lax", path="/")
