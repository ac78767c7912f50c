"""Who may call what: one table, closed by default. A route that is not in it is refused when the app is made."""

from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from passerelle_consent.records import problems
from passerelle_consent.records.ports import Authenticator, Principal, Role
from passerelle_consent.records.problems import Problem

_SAY = "/v1/subjects/{pseudonym}/agreements/{agreement}/"

RULES: Mapping[tuple[str, str], frozenset[Role]] = MappingProxyType(
    {
        ("POST", "/v1/links"): frozenset({Role.DEPARTMENT}),
        # A recipient that could record a consent in its own favour would need no citizen: only the portal may give.
        ("POST", _SAY + "give"): frozenset({Role.PORTAL}),
        ("POST", _SAY + "refuse"): frozenset({Role.PORTAL, Role.DEPARTMENT}),
        # It must be as easy to withdraw as to give (GDPR Art. 7(3)): any counter takes a withdrawal or an objection.
        ("POST", _SAY + "withdraw"): frozenset({Role.PORTAL, Role.DEPARTMENT}),
        ("POST", _SAY + "object"): frozenset({Role.PORTAL, Role.DEPARTMENT}),
        ("POST", "/v1/subjects/{pseudonym}/overrides"): frozenset({Role.OFFICER}),
        ("GET", "/v1/subjects/{pseudonym}/standing"): frozenset({Role.PORTAL, Role.DEPARTMENT, Role.OFFICER}),
        ("GET", "/v1/acknowledgements/{acknowledgement}"): frozenset(Role),
    }
)

OPEN: frozenset[tuple[str, str]] = frozenset({("GET", "/healthz"), ("GET", "/readyz")})
"""What needs no token: it says nothing about anybody."""


class GuardedRoute(APIRoute):
    """A route that knows its caller before it reads the body."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler. Raises `KeyError` for a route that has no rule."""
        handle = super().get_route_handler()
        rules = [self._rule(method) for method in sorted(self.methods or ())]

        async def guarded(request: Request) -> Response:
            request.state.principal = None
            for allowed in rules:
                if allowed is not None:
                    request.state.principal = admit(request, allowed)
            return await handle(request)

        return guarded

    def _rule(self, method: str) -> frozenset[Role] | None:
        at = method, self.path_format
        return None if at in OPEN else RULES[at]


def admit(request: Request, allowed: frozenset[Role]) -> Principal:
    """Return the caller. Raises `Problem` unauthenticated, invalid-token, forbidden."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Problem(problems.UNAUTHENTICATED)
    authenticate: Authenticator = request.app.state.authenticate
    principal = authenticate(token.strip())
    if principal is None:
        raise Problem(problems.INVALID_TOKEN)
    if principal.roles.isdisjoint(allowed):
        raise Problem(problems.FORBIDDEN, roles=sorted(role.value for role in allowed))
    return principal


def own_department(principal: Principal, department: str) -> None:
    """Raise `Problem` wrong-department when the pseudonyms are not the caller's."""
    if department != principal.department:
        raise Problem(problems.WRONG_DEPARTMENT)
