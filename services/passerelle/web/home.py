"""The first page, the pages about the site, how it looks, and whether it runs."""

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from passerelle.web.rendering import page
from passerelle.web.visit import THEME_COOKIE, THEMES, Anybody

THEME_KEPT_S = 365 * 86_400

router = APIRouter()


@router.get("/")
async def welcome(visit: Anybody) -> Response:
    """What this is, and where to go."""
    return page(visit, "welcome.html")


@router.get("/aide")
async def help_(visit: Anybody) -> Response:
    """Whom to ask, and how to complain."""
    return page(visit, "help.html")


@router.get("/accessibilite")
async def accessibility(visit: Anybody) -> Response:
    """How far the site keeps to RGAA 4, as French law wants it said."""
    return page(visit, "accessibility.html")


@router.get("/affichage")
async def appearance(visit: Anybody, request: Request) -> Response:
    """Light, dark, or as the device has it. A link, not a form that changes something: it needs no token."""
    theme = request.query_params.get("theme", "")
    back = RedirectResponse(ours(request.query_params.get("retour", ""), visit.to("/")), status_code=303)
    if theme in THEMES:
        back.set_cookie(
            THEME_COOKIE, theme, max_age=THEME_KEPT_S, secure=visit.site.https, httponly=True, samesite="lax"
        )
    return back


@router.get("/healthz")
async def healthz() -> Response:
    """It runs."""
    return PlainTextResponse("ok\n")


def ours(path: str, otherwise: str) -> str:
    """A path of ours, never another site's address."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) else otherwise
