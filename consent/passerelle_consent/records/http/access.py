"""Who may call what: one table, closed by default. A route that is not in it is refused when the app is made."""

from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from passerelle_consent.records import problems
from passerelle_consent.records.ports import PERSONAL, Authenticator, Principal, Role
from passerelle_consent.records.problems import Problem

_SUBJECT = "/v1/subjects/{pseudonym}"
_CONSULTATION = "/v1/consultations/{consultation}"
_SAY = _SUBJECT + "/agreements/{agreement}/"
_COUNTER = PERSONAL | {Role.DEPARTMENT}
_OFFICER = frozenset({Role.OFFICER})

RULES: Mapping[tuple[str, str], frozenset[Role]] = MappingProxyType(
    {
        ("POST", "/v1/links"): frozenset({Role.DEPARTMENT}),
        # A recipient that could record a consent in its own favour would need no citizen: only citizens give.
        ("POST", _SAY + "give"): PERSONAL,
        ("POST", _SAY + "refuse"): _COUNTER,
        # It must be as easy to withdraw as to give (GDPR Art. 7(3)): any counter takes a withdrawal or an objection.
        ("POST", _SAY + "withdraw"): _COUNTER,
        ("POST", _SAY + "object"): _COUNTER,
        ("POST", _SAY + "defer"): PERSONAL,
        ("POST", _SAY + "request"): _OFFICER,
        ("POST", _SAY + "revoke"): _OFFICER,
        ("POST", _SAY + "invalidate"): _OFFICER,
        ("POST", _SUBJECT + "/guardians"): _OFFICER,
        ("POST", _SUBJECT + "/guardians/{guardianship}/end"): _OFFICER,
        ("POST", _SUBJECT + "/emancipation"): _OFFICER,
        ("GET", _SUBJECT + "/guardians"): PERSONAL | _OFFICER,
        ("GET", _SUBJECT + "/wards"): PERSONAL,
        ("GET", "/v1/objections"): _OFFICER,
        ("POST", _SUBJECT + "/objections/{objection}/answer"): _OFFICER,
        ("POST", _SUBJECT + "/restriction"): PERSONAL | _OFFICER,
        ("POST", _SUBJECT + "/restriction/announcement"): _OFFICER,
        ("POST", _SUBJECT + "/restriction/lifting"): PERSONAL | _OFFICER,
        ("POST", _SUBJECT + "/overrides"): _OFFICER,
        ("POST", _SUBJECT + "/overrides/{override}/review"): _OFFICER,
        ("GET", "/v1/overrides"): frozenset({Role.OFFICER, Role.AUDITOR, Role.OPERATOR}),
        ("GET", _SUBJECT + "/notices"): PERSONAL,
        ("PUT", _SUBJECT + "/notices/{notice}/read"): PERSONAL,
        ("GET", "/v1/operations/attention"): frozenset({Role.OFFICER, Role.AUDITOR, Role.OPERATOR}),
        ("GET", _SUBJECT + "/standing"): _COUNTER | {Role.OFFICER},
        ("GET", _SUBJECT + "/changes"): PERSONAL,
        ("GET", _SUBJECT + "/changes/{change}/receipt"): PERSONAL,
        ("GET", _SUBJECT + "/export"): PERSONAL,
        # No department: what the others receive is none of its business.
        ("GET", _SUBJECT + "/disclosures"): PERSONAL | {Role.AUDITOR},
        ("GET", _SUBJECT + "/readers"): PERSONAL | {Role.AUDITOR},
        ("GET", _SUBJECT + "/proof/{decision}"): PERSONAL | {Role.AUDITOR},
        ("GET", "/v1/acknowledgements/{acknowledgement}"): _COUNTER | {Role.OFFICER},
        ("POST", _SUBJECT + "/erasure"): PERSONAL | {Role.OFFICER},
        ("POST", "/v1/erasures/{erasure_id}/acknowledgement"): frozenset({Role.DEPARTMENT}),
        ("GET", "/v1/erasures"): frozenset({Role.OFFICER, Role.AUDITOR}),
        ("PUT", _CONSULTATION): _OFFICER,
        ("POST", _CONSULTATION + "/answer"): _OFFICER,
        # One voice each, one's own: nobody speaks here as somebody's guardian.
        ("GET", _CONSULTATION + "/voice"): frozenset({Role.CITIZEN}),
        ("PUT", _CONSULTATION + "/voice"): frozenset({Role.CITIZEN}),
        ("DELETE", _CONSULTATION + "/voice"): frozenset({Role.CITIZEN}),
        ("POST", _CONSULTATION + "/arguments"): frozenset({Role.CITIZEN}),
        ("GET", _CONSULTATION + "/arguments/waiting"): _OFFICER,
        ("PUT", _CONSULTATION + "/arguments/{n}/ruling"): _OFFICER,
    }
)

OPEN: frozenset[tuple[str, str]] = frozenset(
    {
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/v1/keys"),
        ("GET", "/v1/agreements"),
        ("GET", "/v1/agreements/{agreement}"),
        ("GET", "/v1/agreements/{agreement}/versions/{version}"),
        ("GET", "/v1/flows"),
        ("GET", "/v1/notices/{agreement}/{version}"),
        ("GET", "/v1/consultations"),
        ("GET", _CONSULTATION),
        ("GET", _CONSULTATION + "/result"),
        ("GET", _CONSULTATION + "/arguments"),
    }
)
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
                    request.state.principal = await admit(request, allowed)
            return await handle(request)

        return guarded

    def _rule(self, method: str) -> frozenset[Role] | None:
        at = method, self.path_format
        return None if at in OPEN else RULES[at]


async def admit(request: Request, allowed: frozenset[Role]) -> Principal:
    """Return the caller. Raises `Problem`: unauthenticated, one of the token's, insufficient-scope."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Problem(problems.UNAUTHENTICATED)
    authenticate: Authenticator = request.app.state.authenticate
    principal = await authenticate(token.strip())
    if principal.roles.isdisjoint(allowed):
        raise insufficient(allowed)
    return principal


def insufficient(allowed: frozenset[Role]) -> Problem:
    """Return the refusal that names the scopes of which one is needed (RFC 6750 §3.1)."""
    scopes = sorted(role.value for role in allowed)
    challenge = f'Bearer error="insufficient_scope", scope="{" ".join(scopes)}"'
    return Problem(problems.INSUFFICIENT_SCOPE, headers={"WWW-Authenticate": challenge}, scopes=scopes)
