"""Who may call what: one table, closed by default. A route that is not in it is refused when the app is made."""

from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from fastapi import Request, Response
from fastapi.routing import APIRoute

from passerelle_consent.records import problems
from passerelle_consent.records.http.answers import documented, kinds_of
from passerelle_consent.records.ports import PERSONAL, Authenticator, Principal, Role
from passerelle_consent.records.problems import Problem

if TYPE_CHECKING:
    from passerelle_consent.records.http.rates import Rates

_SUBJECT = "/v1/subjects/{pseudonym}"
_CONSULTATION = "/v1/consultations/{consultation}"
_SAY = _SUBJECT + "/agreements/{agreement}/"
_COUNTER = PERSONAL | {Role.DEPARTMENT}
_OFFICER = frozenset({Role.OFFICER})
_AUDITOR = frozenset({Role.AUDITOR})

RULES: Mapping[tuple[str, str], frozenset[Role]] = MappingProxyType(
    {
        ("POST", "/v1/links"): frozenset({Role.DEPARTMENT}),
        ("POST", "/v1/deliveries/check"): frozenset({Role.DEPARTMENT}),
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
        ("GET", _SUBJECT + "/approvals"): PERSONAL,
        ("GET", "/v1/objections"): _OFFICER,
        ("POST", _SUBJECT + "/objections/{objection}/answer"): _OFFICER,
        ("POST", _SUBJECT + "/restriction"): PERSONAL | _OFFICER,
        ("POST", _SUBJECT + "/restriction/announcement"): _OFFICER,
        ("POST", _SUBJECT + "/restriction/lifting"): PERSONAL | _OFFICER,
        ("POST", _SUBJECT + "/overrides"): _OFFICER,
        ("GET", _SUBJECT + "/overrides"): PERSONAL,
        ("POST", _SUBJECT + "/overrides/{override}/review"): _OFFICER,
        ("GET", "/v1/overrides"): frozenset({Role.OFFICER, Role.AUDITOR, Role.OPERATOR}),
        ("GET", _SUBJECT + "/notices"): PERSONAL,
        ("PUT", _SUBJECT + "/notices/{notice}/read"): PERSONAL,
        ("GET", "/v1/operations/attention"): frozenset({Role.OFFICER, Role.AUDITOR, Role.OPERATOR}),
        ("POST", "/v1/operations/dead-letters"): frozenset({Role.DEPARTMENT, Role.OPERATOR}),
        ("GET", _SUBJECT + "/standing"): _COUNTER | {Role.OFFICER},
        ("GET", _SUBJECT + "/changes"): PERSONAL,
        ("GET", _SUBJECT + "/changes/{change}/receipt"): PERSONAL,
        ("GET", _SUBJECT + "/export"): PERSONAL,
        # No department: what the others receive is none of its business.
        ("GET", _SUBJECT + "/disclosures"): PERSONAL | {Role.AUDITOR},
        ("GET", _SUBJECT + "/readers"): PERSONAL | {Role.AUDITOR},
        ("GET", _SUBJECT + "/entries"): PERSONAL | {Role.AUDITOR},
        ("GET", _SUBJECT + "/proof/{decision}"): PERSONAL | {Role.AUDITOR},
        ("GET", _SUBJECT + "/ledger-key"): PERSONAL | {Role.AUDITOR},
        ("GET", "/v1/ledger/entries"): _AUDITOR,
        ("GET", "/v1/ledger/entries/{index}/proof"): _AUDITOR,
        ("GET", "/v1/ledger/counts"): _AUDITOR,
        ("GET", "/v1/ledger/export"): _AUDITOR,
        # What entries say is for auditors; that they are all there can be checked by anybody, from the hashes.
        ("GET", "/tile/entries/{number}"): _AUDITOR,
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
        ("GET", "/v1/ledger/checkpoint"),
        ("GET", "/checkpoint"),
        ("GET", "/tile/{level}/{number}"),
        ("GET", "/v1/agreements"),
        ("GET", "/v1/agreements/{agreement}"),
        ("GET", "/v1/agreements/{agreement}/versions/{version}"),
        ("GET", "/v1/flows"),
        ("GET", "/v1/register/counts"),
        ("GET", "/v1/notices/{agreement}/{version}"),
        ("GET", "/v1/openapi.json"),
        ("GET", "/v1/consultations"),
        ("GET", _CONSULTATION),
        ("GET", _CONSULTATION + "/result"),
        ("GET", _CONSULTATION + "/result/proof"),
        ("GET", _CONSULTATION + "/arguments"),
    }
)
"""What needs no token: it says nothing about anybody."""


FILES: frozenset[tuple[str, str]] = frozenset(
    {("GET", "/checkpoint"), ("GET", "/tile/{level}/{number}"), ("GET", "/tile/entries/{number}")}
)
"""What whoever checks the log fetches by the thousand: `rates` counts it apart."""

SCHEME = "token"
"""The security scheme's name in the OpenAPI."""


class GuardedRoute(APIRoute):
    """A route that knows its caller before it reads the body, and documents how it refuses."""

    rules: ClassVar[Mapping[tuple[str, str], frozenset[Role]]] = RULES
    """Another service than the consent service has a class with a table of its own."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **settings: Any) -> None:
        """Raise `KeyError` for a route that has no rule."""
        super().__init__(path, endpoint, **settings)
        rules = [self._rule(method) for method in sorted(self.methods or ())]
        roles = frozenset().union(*(rule or () for rule in rules))
        has_body = self.body_field is not None
        self.kinds = kinds_of(path, self.dependant, roles if None not in rules else None, has_body=has_body)
        self.responses = {**documented(self.kinds), **_taking_effect(self.response_model), **self.responses}
        if None not in rules:
            needed = [{SCHEME: [role.value]} for role in sorted(roles)]
            self.openapi_extra = {"security": needed, **(self.openapi_extra or {})}

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler. Raises `KeyError` for a route that has no rule."""
        handle = super().get_route_handler()
        files = any((method, self.path_format) in FILES for method in self.methods or ())
        rules = [self._rule(method) for method in sorted(self.methods or ())]

        async def guarded(request: Request) -> Response:
            request.state.principal = None
            for allowed in rules:
                request.state.principal = await admit(request, allowed, files=files)
            if self.body_field is not None:
                _check_media_type(request)
            return await handle(request)

        return guarded

    def _rule(self, method: str) -> frozenset[Role] | None:
        at = method, self.path_format
        return None if at in OPEN else self.rules[at]


async def admit(request: Request, allowed: frozenset[Role] | None, *, files: bool = False) -> Principal | None:
    """Return the caller, None where no token is needed. Raises `Problem`.

    Unauthenticated, one of the token's, insufficient-scope; rate-limited, by principal or else by address.
    """
    rates: Rates = request.app.state.rates
    try:
        principal = None if allowed is None else await _authenticated(request)
    except Problem as refused:
        if refused.kind is not problems.ISSUER_UNAVAILABLE:
            request.state.rate = rates.address(_address(request))
        raise
    if principal is None:
        request.state.rate = rates.address(_address(request), files=files)
    else:
        request.state.rate = rates.principal(principal, files=files)
    if principal is not None and allowed is not None and principal.roles.isdisjoint(allowed):
        raise insufficient(allowed)
    return principal


async def _authenticated(request: Request) -> Principal:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Problem(problems.UNAUTHENTICATED)
    authenticate: Authenticator = request.app.state.authenticate
    return await authenticate(token.strip())


def _address(request: Request) -> str:
    """The peer's: behind a proxy, what uvicorn takes from the proxies that it trusts."""
    return request.client.host if request.client else "unknown"


def _check_media_type(request: Request) -> None:
    """Raise `Problem` unsupported-media-type. A request without a body says nothing of its type."""
    named = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if named != "application/json" and (named or request.headers.get("content-length", "0") != "0"):
        raise Problem(problems.MEDIA_TYPE_UNKNOWN)


def _taking_effect(model: Any) -> dict[int | str, dict[str, Any]]:
    """Document the answer 202 of a change: the same body, and where to look."""
    if "status" not in getattr(model, "model_fields", {}) or "acknowledgement" not in model.model_fields:
        return {}
    where = {"Location": {"schema": {"type": "string"}, "description": "Where to ask whether it has taken effect."}}
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}
    return {202: {"description": "Recorded, taking effect.", "content": content, "headers": where}}


def insufficient(allowed: frozenset[Role]) -> Problem:
    """Return the refusal that names the scopes of which one is needed (RFC 6750 §3.1)."""
    scopes = sorted(role.value for role in allowed)
    challenge = f'Bearer error="insufficient_scope", scope="{" ".join(scopes)}"'
    return Problem(problems.INSUFFICIENT_SCOPE, headers={"WWW-Authenticate": challenge}, scopes=scopes)
