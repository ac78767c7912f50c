"""The HTTP face of the consent service (DESIGN §7; RFC 9457 for what is refused)."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Header, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from passerelle_consent.policy.standing import Actor, Standing
from passerelle_consent.records import problems
from passerelle_consent.records.access import GuardedRoute, own_department
from passerelle_consent.records.bodies import (
    ChangeOut,
    DepartmentId,
    EndIn,
    Hex16,
    LinkIn,
    LinksOut,
    OverrideIn,
    SayIn,
    StandingOut,
)
from passerelle_consent.records.changes import Asked, Change
from passerelle_consent.records.edge import Edge, answer
from passerelle_consent.records.ports import Authenticator, BadIdentity, Principal, Pseudonym, SubjectRef
from passerelle_consent.records.problems import Problem
from passerelle_consent.records.service import Records
from passerelle_consent.records.transitions import Action

PseudonymPath = Annotated[Hex16, Path()]
AgreementPath = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{0,99}$")]
IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$")]

router = APIRouter(route_class=GuardedRoute)


def make_app(records: Records, authenticate: Authenticator) -> FastAPI:
    """Return the application; its lifespan starts and stops the service."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await records.start()
        try:
            yield
        finally:
            await records.stop()

    app = FastAPI(title="Passerelle consent service", version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.records = records
    app.state.authenticate = authenticate
    app.include_router(router)
    app.add_middleware(Edge)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _http)
    return app


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "alive"}


@router.get("/readyz")
async def readyz(request: Request) -> dict[str, str]:
    """Say whether the service can do all of its work now."""
    why = _records(request).not_ready()
    if why is not None:
        raise Problem(problems.NOT_READY, why)
    return {"status": "ready"}


@router.post("/v1/links")
async def link(request: Request, body: LinkIn) -> LinksOut:
    """Link identities to a department. The pseudonyms are right at once; the status says whether the bus knows."""
    records = _records(request)
    _own(request, body.department)
    try:
        refs = records.register.refs([i.identity() for i in body.identities])
    except BadIdentity as bad:
        where = {"where": ["body", "identities", bad.index], "what": "cannot be normalised"}
        raise Problem(problems.MALFORMED, errors=[where]) from None
    told = await records.link(body.department, refs)
    pseudonyms = [p.hex() for p in records.register.pseudonyms(body.department, refs)]
    return LinksOut(pseudonyms=pseudonyms, status="in-effect" if told else "taking-effect")


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """What every change is asked with, besides its body."""

    request: Request
    response: Response
    pseudonym: str
    idempotency_key: str | None

    def asked(self, department: str, what: str, body: BaseModel) -> Asked:
        """Give it an id. ``what`` and the body tell a repeat from another use of the key. Raises `Problem`."""
        repeated = f"{what}\n{self.pseudonym}\n{body.model_dump_json()}".encode()
        return _records(self.request).new_asked(
            _ref(self.request, department, self.pseudonym),
            department,
            _principal(self.request).name,
            idempotency_key=self.idempotency_key,
            request=hashlib.sha256(repeated).digest(),
        )

    def answer(self, change: Change, standing: Standing | None = None) -> ChangeOut:
        """Return the body: 200 when the change is in effect, else 202 and where to look (DESIGN §7)."""
        if not change.in_effect:
            self.response.status_code = 202
            self.response.headers["Location"] = f"/v1/acknowledgements/{change.id.hex()}"
        return ChangeOut.of(change, standing)


async def _call(
    request: Request, response: Response, pseudonym: PseudonymPath, idempotency_key: IdempotencyKey = None
) -> Call:
    return Call(request=request, response=response, pseudonym=pseudonym, idempotency_key=idempotency_key)


@router.post("/v1/subjects/{pseudonym}/agreements/{agreement}/give")
async def give(call: Annotated[Call, Depends(_call)], agreement: AgreementPath, body: SayIn) -> ChangeOut:
    """Give consent, or renew it."""
    return await _say(call, agreement, Action.GIVE, body)


@router.post("/v1/subjects/{pseudonym}/agreements/{agreement}/refuse")
async def refuse(call: Annotated[Call, Depends(_call)], agreement: AgreementPath, body: SayIn) -> ChangeOut:
    """Refuse consent."""
    return await _say(call, agreement, Action.REFUSE, body)


@router.post("/v1/subjects/{pseudonym}/agreements/{agreement}/withdraw")
async def withdraw(call: Annotated[Call, Depends(_call)], agreement: AgreementPath, body: EndIn) -> ChangeOut:
    """Withdraw consent. 200 once no delivery under it can be committed any more; 202 until then."""
    return await _say(call, agreement, Action.WITHDRAW, body)


@router.post("/v1/subjects/{pseudonym}/agreements/{agreement}/object")
async def object_(call: Annotated[Call, Depends(_call)], agreement: AgreementPath, body: EndIn) -> ChangeOut:
    """Object (GDPR Art. 21). 200 once no delivery under the agreement can be committed any more; 202 until then."""
    return await _say(call, agreement, Action.OBJECT, body)


async def _say(call: Call, agreement: str, action: Action, body: SayIn | EndIn) -> ChangeOut:
    records = _records(call.request)
    asked = call.asked(body.department, f"{action} {agreement}", body)
    change = await records.say(asked, agreement, action, notice=body.notice, by=Actor(body.by))
    return call.answer(change, None if action.takes_away else await records.standing(asked.ref))


@router.post("/v1/subjects/{pseudonym}/overrides")
async def override(call: Annotated[Call, Depends(_call)], body: OverrideIn) -> ChangeOut:
    """Open a recipient for one subject's vital interests (GDPR Art. 6(1)(d))."""
    records = _records(call.request)
    asked = call.asked(body.department, "override", body)
    change = await records.override(
        asked,
        recipient=body.recipient,
        officer=body.officer,
        reason_code=body.reason_code,
        hours=body.hours,
    )
    return call.answer(change, await records.standing(asked.ref))


@router.get("/v1/subjects/{pseudonym}/standing")
async def standing(
    request: Request, pseudonym: PseudonymPath, department: Annotated[DepartmentId, Query()]
) -> StandingOut:
    """Return the subject's standing."""
    return StandingOut.of(await _records(request).standing(_ref(request, department, pseudonym)))


@router.get("/v1/acknowledgements/{acknowledgement}")
async def acknowledgement(request: Request, acknowledgement: Annotated[Hex16, Path()]) -> ChangeOut:
    """Say whether a change has taken effect. Others' acknowledgements are as unknown as those that never were."""
    change = await _records(request).find(bytes.fromhex(acknowledgement))
    if change is None or change.department != _principal(request).department:
        raise Problem(problems.UNKNOWN_ACKNOWLEDGEMENT)
    return ChangeOut.of(change)


def _records(request: Request) -> Records:
    records: Records = request.app.state.records
    return records


def _principal(request: Request) -> Principal:
    principal: Principal = request.state.principal
    return principal


def _own(request: Request, department: str) -> None:
    own_department(_principal(request), department)


def _ref(request: Request, department: str, pseudonym: str) -> SubjectRef:
    _own(request, department)
    return _records(request).register.ref(department, Pseudonym(bytes.fromhex(pseudonym)))


async def _problem(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, Problem)  # noqa: S101 - registered for Problem alone
    return answer(exc, request.scope["state"])


async def _malformed(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)  # noqa: S101 - registered for it alone
    errors = [{"where": _where(e), "what": e["type"]} for e in exc.errors()[:ERRORS_SHOWN_MAX]]
    return answer(Problem(problems.MALFORMED, errors=errors), request.scope["state"])


ERRORS_SHOWN_MAX = 20
"""A thousand identities may each be wrong in the same way."""


def _where(error: dict[str, object]) -> list[object]:
    """Return where it is wrong. A member's name that we do not know is the sender's own text: it is not repeated."""
    loc = error["loc"]
    assert isinstance(loc, tuple)  # noqa: S101 - pydantic's shape
    return [*loc[:-1], "?"] if error["type"] == "extra_forbidden" else list(loc)


_BY_STATUS: dict[int, problems.ProblemType] = {
    400: problems.MALFORMED,
    404: problems.NOT_FOUND,
    405: problems.METHOD_NOT_ALLOWED,
}


async def _http(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)  # noqa: S101 - registered for it alone
    kind = _BY_STATUS.get(exc.status_code, problems.INTERNAL)
    refused = answer(Problem(kind), request.scope["state"])
    refused.headers.update(exc.headers or {})
    return refused
