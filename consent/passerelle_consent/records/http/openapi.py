"""The service's description of itself: OpenAPI 3.1 at `/v1/openapi.json`, made from the routes."""

from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse

from passerelle_consent.records.http.access import SCHEME, GuardedRoute
from passerelle_consent.records.http.answers import PROBLEM_SCHEMA, documented
from passerelle_consent.records.ports import Role
from passerelle_consent.records.problems import METHOD_NOT_ALLOWED, NOT_FOUND

router = APIRouter(route_class=GuardedRoute)

TITLE = "Passerelle consent service"
DESCRIPTION = """\
What citizens say about the sharing of their data between a city's departments, and what the law says.

**Who calls.** An OAuth 2.0 access token (a JWT, RFC 9068) of the city's identity provider, as `Authorization: Bearer`.
Its scopes are the roles that each route names. A citizen's token carries `department`, the portal's, and `pseudonym`,
the citizen's own there; in a path `me` stands for it. An office's token carries `department`: it uses the pseudonyms of
that department alone.

**What changes.** A change that takes a sharing away is answered 200 once no delivery under it can be committed any
more, and 202 with `Location` while that is not certain yet. A request with an `Idempotency-Key` may be repeated for 24
hours: it is done once, and its repeat gives the same answer. The key is the caller's own; for another request it is
refused. A request that was refused may be sent again under its key. With `If-Match` a change is made only to the
standing of that `ETag`.

**What is refused.** Each kind of refusal has a problem type of its own (RFC 9457), and nothing was changed. A path that
is not in this document is answered as `components.responses.NotFound`, and a method that a path does not have as
`NotAllowed`, with `Allow`.

**How often.** The `RateLimit` and `RateLimit-Policy` fields say what is left; a caller beyond it is answered 429 with
`Retry-After`.
"""


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the document; it is made once."""
    document = app.openapi()
    components = document.setdefault("components", {})
    components["responses"] = {
        name: documented([kind])[kind.status]
        for name, kind in {"NotFound": NOT_FOUND, "NotAllowed": METHOD_NOT_ALLOWED}.items()
    }
    components.setdefault("schemas", {})["Problem"] = PROBLEM_SCHEMA
    components["securitySchemes"] = {
        SCHEME: {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT (RFC 9068)",
            "description": f"Scopes: {', '.join(Role)}. A route names those of which one is needed.",
        }
    }
    return document


@router.get("/v1/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> JSONResponse:
    """Describe this service (OpenAPI 3.1)."""
    return JSONResponse(describe(request.app))
