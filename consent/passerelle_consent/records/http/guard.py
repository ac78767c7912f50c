"""What every service of ours puts around its routes: who calls, how often, and each refusal as a problem (RFC 9457)."""

from collections.abc import Sequence

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from passerelle_consent.records import problems
from passerelle_consent.records.http.access import GuardedRoute
from passerelle_consent.records.http.edge import Edge, answer
from passerelle_consent.records.http.rates import Rates
from passerelle_consent.records.ports import Authenticator
from passerelle_consent.records.problems import Problem


def guard(app: FastAPI, routers: Sequence[APIRouter], authenticate: Authenticator, rates: Rates) -> None:
    """Put routes of `GuardedRoute` behind the edge; what they raise, and what finds no route, is told as a problem."""
    app.state.authenticate = authenticate
    app.state.rates = rates
    app.state.routers = routers
    for router in routers:
        app.include_router(router)
    app.add_middleware(Edge)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _http)


async def _problem(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, Problem)  # noqa: S101 - registered for Problem alone
    return answer(exc, request.scope["state"])


async def _malformed(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)  # noqa: S101 - registered for it alone
    kinds = {e["type"] for e in exc.errors()}
    if "json_invalid" in kinds:
        return answer(Problem(problems.MALFORMED_JSON), request.scope["state"])
    kind = problems.UNKNOWN_MEMBER if kinds == {"extra_forbidden"} else problems.MALFORMED
    errors = [{"where": _where(e), "what": e["type"]} for e in exc.errors()[:ERRORS_SHOWN_MAX]]
    return answer(Problem(kind, errors=errors), request.scope["state"])


ERRORS_SHOWN_MAX = 20
"""A thousand identities may each be wrong in the same way."""


def _where(error: dict[str, object]) -> list[object]:
    """Return where it is wrong. A member's name that we do not know is the sender's own text: it is not repeated."""
    loc = error["loc"]
    assert isinstance(loc, tuple)  # noqa: S101 - pydantic's shape
    return [*loc[:-1], "?"] if error["type"] == "extra_forbidden" else list(loc)


_BY_STATUS: dict[int, problems.ProblemType] = {
    400: problems.MALFORMED_JSON,  # FastAPI's word for bytes that no JSON parser reads
    404: problems.NOT_FOUND,
    405: problems.METHOD_NOT_ALLOWED,
}


async def _http(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)  # noqa: S101 - registered for it alone
    kind = _BY_STATUS.get(exc.status_code, problems.INTERNAL)
    refused = answer(Problem(kind), request.scope["state"])
    refused.headers.update(exc.headers or {})
    if kind is problems.METHOD_NOT_ALLOWED:
        refused.headers["Allow"] = ", ".join(_methods_at(request.url.path, request.app.state.routers))
    return refused


def _methods_at(path: str, routers: Sequence[APIRouter]) -> list[str]:
    """Return what a path takes, by all of its routes: Starlette tells of the first one alone."""
    routes = (route for router in routers for route in router.routes if isinstance(route, GuardedRoute))
    return sorted({method for route in routes if route.path_regex.match(path) for method in route.methods or ()})
