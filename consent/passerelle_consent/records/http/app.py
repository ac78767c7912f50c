"""The HTTP face of the consent service (DESIGN §7; RFC 9457 for what is refused). One module for each matter."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from passerelle_consent.records.disclosures import KeptPolicies
from passerelle_consent.records.http import (
    attention,
    consultations,
    deliveries,
    disclosures,
    entries,
    erasures,
    export,
    files,
    guardians,
    health,
    history,
    ledger,
    letters,
    links,
    notices,
    objections,
    openapi,
    overrides,
    public_counts,
    receipts,
    register,
    restrictions,
    sayings,
    standings,
    voices,
)
from passerelle_consent.records.http.guard import guard
from passerelle_consent.records.http.rates import Rates
from passerelle_consent.records.ports import Authenticator
from passerelle_consent.records.service import Records

ROUTERS = (
    # They are gone through in this order for every request: what pages ask for most stands first.
    standings.router,
    disclosures.router,
    guardians.router,
    notices.router,
    history.router,
    sayings.router,
    overrides.router,
    consultations.router,
    voices.router,
    register.router,
    public_counts.router,
    health.router,
    openapi.router,
    links.router,
    deliveries.router,
    objections.router,
    restrictions.router,
    receipts.router,
    export.router,
    attention.router,
    letters.router,
    erasures.router,
    entries.router,
    ledger.router,
    files.router,
)


def make_app(records: Records, authenticate: Authenticator, rates: Rates) -> FastAPI:
    """Return the application; its lifespan starts and stops the service."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await records.start()
        try:
            yield
        finally:
            await records.stop()

    app = FastAPI(
        title=openapi.TITLE,
        description=openapi.DESCRIPTION,
        version="1",
        lifespan=lifespan,
        openapi_url=None,  # `openapi` serves it, guarded as all routes are
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # it tells paths, and these hold pseudonyms
    )
    app.state.records = records
    app.state.public_counts = public_counts.KeptCounts()
    app.state.kept_policies = KeptPolicies()
    guard(app, ROUTERS, authenticate, rates)
    return app
