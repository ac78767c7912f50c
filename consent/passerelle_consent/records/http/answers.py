"""What a route may answer, for its OpenAPI: each route says which problems it raises itself; the rest follows.

    @router.post("/v1/links")
    @refuses(problems.UNKNOWN_AGREEMENT)
    async def link(…): …

Everything that needs a token can be refused for it, what has a body for its size and form, and so on: that is derived
here from the route's rule, path, parameters and dependencies. The tests hold every answer of every route against it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi.dependencies.models import Dependant

from passerelle_consent.records import problems
from passerelle_consent.records.ports import PERSONAL, Role
from passerelle_consent.records.problems import MEDIA_TYPE, ProblemType

F = TypeVar("F", bound=Callable[..., Any])

_REFUSALS = "refusals"

ANYBODY = (
    problems.RATE_LIMITED,
    problems.BODY_TOO_SLOW,
    problems.BODY_TOO_LARGE,
    problems.STORE_UNAVAILABLE,
    problems.NOT_READY,
    problems.INTERNAL,
)
CALLER = (
    problems.UNAUTHENTICATED,
    *problems.TOKEN_PROBLEMS,
    problems.INSUFFICIENT_SCOPE,
    problems.ISSUER_UNAVAILABLE,
    problems.OVERLOADED,
)
UNKNOWN = {
    "{pseudonym}": problems.UNKNOWN_SUBJECT,
    "{consultation}": problems.UNKNOWN_CONSULTATION,
}
"""Of each part of a path, what is answered when there is no such thing."""

BODY = (problems.MALFORMED_JSON, problems.MEDIA_TYPE_UNKNOWN, problems.UNKNOWN_MEMBER)


def refuses(*kinds: ProblemType) -> Callable[[F], F]:
    """Say which problems an endpoint, or a dependency of endpoints, raises of itself."""

    def mark(endpoint: F) -> F:
        setattr(endpoint, _REFUSALS, (*getattr(endpoint, _REFUSALS, ()), *kinds))
        return endpoint

    return mark


def kinds_of(
    path: str, dependant: Dependant, rule: frozenset[Role] | None, *, has_body: bool
) -> tuple[ProblemType, ...]:
    """Return every problem that a route can answer with. ``rule`` is None for a route that needs no token."""
    found = [*ANYBODY, *_declared(dependant), *(kind for part, kind in UNKNOWN.items() if part in path)]
    if rule is not None:
        found += [*CALLER, *_of_subject(path, rule)]
    if has_body:
        found += BODY
    if has_body or _has_parameters(dependant):
        found.append(problems.MALFORMED)
    return tuple({kind.slug: kind for kind in found}.values())


def _of_subject(path: str, rule: frozenset[Role]) -> Iterator[ProblemType]:
    if "{pseudonym}" not in path:
        return
    if rule & PERSONAL:
        yield from (problems.NOT_YOURS, problems.NOT_GUARDIAN, problems.GUARDIANSHIP_OVER)
    if rule & {Role.AUDITOR, Role.OPERATOR}:
        yield problems.DEPARTMENT_NEEDED
    if rule - PERSONAL:
        yield problems.NOT_A_CITIZEN


def _declared(dependant: Dependant) -> Iterator[ProblemType]:
    yield from getattr(dependant.call, _REFUSALS, ())
    for inner in dependant.dependencies:
        yield from _declared(inner)


def _has_parameters(dependant: Dependant) -> bool:
    own = dependant.path_params or dependant.query_params or dependant.header_params
    return bool(own) or any(_has_parameters(inner) for inner in dependant.dependencies)


def documented(kinds: Iterable[ProblemType]) -> dict[int | str, dict[str, Any]]:
    """Return FastAPI's ``responses``: for each status its problem types, with an example of each."""
    by_status: dict[int, list[ProblemType]] = {}
    for kind in kinds:
        by_status.setdefault(kind.status, []).append(kind)
    return {status: _response(status, of_status) for status, of_status in sorted(by_status.items())}


def _response(status: int, kinds: list[ProblemType]) -> dict[str, Any]:
    described = "\n".join(f"- `{kind.slug}`: {kind.title}" for kind in kinds)
    names = sorted({name for kind in kinds for name in kind.headers})
    typed = {"type": "object", "properties": {"type": {"enum": [kind.uri for kind in kinds]}}}
    return {
        "description": f"{HTTPStatus(status).phrase}\n\n{described}",
        "headers": {name: {"schema": {"type": "string"}} for name in names},
        "content": {
            MEDIA_TYPE: {
                "schema": {"allOf": [{"$ref": "#/components/schemas/Problem"}, typed]},
                "examples": {kind.slug: {"value": _example(kind)} for kind in kinds},
            }
        },
    }


def _example(kind: ProblemType) -> Mapping[str, Any]:
    instance = "urn:uuid:00000000-0000-4000-8000-000000000000"
    return {"type": kind.uri, "title": kind.title, "status": kind.status, "instance": instance}


PROBLEM_SCHEMA: Mapping[str, Any] = {
    "title": "Problem",
    "description": "RFC 9457. Nothing was changed. `instance` names the request, for questions to the operator.",
    "type": "object",
    "required": ["type", "title", "status", "instance"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string", "format": "uri"},
    },
}
