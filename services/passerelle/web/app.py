"""The site as an application: its sections, what is around them, and what is shown when something is wrong."""

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response

from passerelle.web import assets, home
from passerelle.web.audit import routes as audit
from passerelle.web.audit import under_mandate
from passerelle.web.citizen import (
    account,
    erasure,
    history,
    portability,
    readers,
    receipts,
    relatives,
    restriction,
    sharings,
)
from passerelle.web.consultations import office as moderation
from passerelle.web.consultations import routes as consultations
from passerelle.web.control import routes as control
from passerelle.web.edge import Edge, content_security_policy
from passerelle.web.languages import LanguagePaths
from passerelle.web.office import routes as office
from passerelle.web.register import routes as register
from passerelle.web.rendering import page
from passerelle.web.service import Refused, ServiceAway
from passerelle.web.shared import SharedPages
from passerelle.web.signing_in import routes as signing_in
from passerelle.web.site import Site
from passerelle.web.visit import NeedsSignIn, NotForYou, StaleForm, visiting

ROUTERS = (
    assets.router,
    home.router,
    signing_in.router,
    sharings.own,
    sharings.wards,
    receipts.own,
    receipts.wards,
    history.own,
    history.wards,
    relatives.router,
    restriction.router,
    erasure.router,
    portability.router,
    readers.router,
    account.router,
    office.router,
    audit.router,
    under_mandate.router,
    control.router,
    register.router,
    consultations.router,
    moderation.router,
)
COMPRESSED_BYTES_MIN = 800
COMPRESSION = 4
"""Of nine: a page is a twentieth longer than with the last, in a third of the time."""


def make_app(site: Site) -> FastAPI:
    """Return the application."""
    app = FastAPI(
        title="Passerelle",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # it tells paths, and these hold pseudonyms
    )
    app.state.site = site
    app.state.shared_pages = SharedPages()
    for router in ROUTERS:
        app.include_router(router)
    app.add_middleware(LanguagePaths)
    app.add_middleware(GZipMiddleware, minimum_size=COMPRESSED_BYTES_MIN, compresslevel=COMPRESSION)
    origins = sorted({provider.origin for provider in site.providers.values()})
    app.add_middleware(Edge, policy=content_security_policy(origins), https=site.https)
    app.add_exception_handler(NeedsSignIn, signing_in.sign_in_first)
    app.add_exception_handler(NotForYou, _not_for_you)
    app.add_exception_handler(StaleForm, _stale_form)
    app.add_exception_handler(ServiceAway, _service_away)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _not_found)
    app.add_exception_handler(Exception, _broken)
    return app


async def _not_for_you(request: Request, _: Exception) -> Response:
    return page(await visiting(request), "problems/not-for-you.html", status=403)


async def _stale_form(request: Request, _: Exception) -> Response:
    return page(await visiting(request), "problems/stale-form.html", status=403)


async def _service_away(request: Request, _: Exception) -> Response:
    """Nothing was changed; what still holds is said: without the service nothing new is delivered either."""
    return page(await visiting(request), "problems/service-away.html", status=503)


async def _refused(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, Refused)  # noqa: S101 - registered for it alone
    if exc.status == 404:  # noqa: PLR2004 - HTTP's
        return page(await visiting(request), "problems/not-found.html", status=404)
    return page(await visiting(request), "problems/refused.html", status=exc.status, refused=exc)


async def _not_found(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)  # noqa: S101 - registered for it alone
    status = exc.status_code
    template = "problems/broken.html" if status >= 500 else "problems/not-found.html"  # noqa: PLR2004 - HTTP's
    return page(await visiting(request), template, status=status)


async def _broken(request: Request, _: Exception) -> Response:
    return page(await visiting(request), "problems/broken.html", status=500)
