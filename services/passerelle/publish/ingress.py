"""The HTTP way in: JSON events of one department, checked against their contracts, answered once the bus has them.

    POST /v1/events        one event
    POST /v1/events/batch  up to 500, all or none of them checked; published in their order
    GET  /v1/openapi.json  each event's own schema, with an example

What is refused is told as RFC 9457 has it, naming each field that is wrong and never its value.
"""

import asyncio
import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, FastAPI, Header, Request
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, Field, StringConstraints

from passerelle.publish.csv_import import Publishes
from passerelle.publish.from_json import Misfit, encoded
from passerelle.publish.openapi import DESCRIPTION, with_events
from passerelle.publish.outgoing import EVENT_ID_CHARS_MAX, Prepared, PublishFault, addressed, own_contract
from passerelle.publish.repeats import OtherRequest, Repeats, UnderWay
from passerelle_consent.records import problems
from passerelle_consent.records.http.access import GuardedRoute
from passerelle_consent.records.http.answers import refuses
from passerelle_consent.records.http.bodies import Hex16, In
from passerelle_consent.records.http.guard import guard
from passerelle_consent.records.http.openapi import describe
from passerelle_consent.records.http.rates import Rates
from passerelle_consent.records.ports import Authenticator, Principal, Role
from passerelle_consent.records.problems import Problem, ProblemType
from passerelle_schemas.catalogue import Catalogue, UnknownContract

BATCH_MAX = 500
"""Events a call: what the broker takes in some 20 ms."""
IN_FLIGHT_MAX = 2_000
"""Events accepted and not yet on the broker: four full batches, some 2 MB. Beyond it callers are told to wait."""
ANSWER_S_MAX = 10.0
"""How long a caller waits for the bus. What was handed over cannot be called back: it goes on being tried, in its place
of `IN_FLIGHT_MAX`, and a repeat under its key is told how it ended, once it has."""
ERRORS_MAX = 20
"""Events of a batch may all be wrong in the same way."""

_LATER = {"Retry-After": "1"}
NOT_OF_THIS_DEPARTMENT = ProblemType(
    slug="not-of-this-department", status=403, title="This way in is of another department."
)
UNKNOWN_EVENT = ProblemType(slug="unknown-event", status=422, title="This department publishes no event of that type.")
MISFIT = ProblemType(slug="misfit", status=422, title="The value does not fit its contract.")
REPEAT_UNDER_WAY = ProblemType(
    slug="repeat-under-way", status=409, title="The same request is being answered just now.", headers=_LATER
)
TOO_MUCH = ProblemType(
    slug="too-much-at-once", status=429, title="The bus has not taken what came before: try again.", headers=_LATER
)
BUS_AWAY = ProblemType(
    slug="bus-away", status=503, title="The bus does not take events now: try again.", headers={"Retry-After": "5"}
)

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=128,
        pattern=r"^[\x21-\x7e]+$",
        description="Your own key for this request: for 24 hours a repeat under it is done once.",
    ),
]


class EventIn(In):
    """One event. ``value`` has the contract's fields: days and times in ISO 8601, decimals as text, bytes in base64."""

    type: Annotated[str, StringConstraints(max_length=200)]
    pseudonym: Hex16
    value: dict[str, Any]
    time: AwareDatetime | None = None
    """When it happened; when it came, if that is left out."""
    id: Annotated[str, StringConstraints(pattern=rf"^[\x21-\x7e]{{1,{EVENT_ID_CHARS_MAX}}}$")] | None = None
    """The event's id, the same in every repeat; made from the Idempotency-Key, or anew, if that is left out."""


class BatchIn(In):
    """Events, in their order."""

    events: list[EventIn] = Field(min_length=1, max_length=BATCH_MAX)


class PlacedOut(BaseModel):
    """An event that the bus has, on every replica."""

    id: str
    topic: str
    partition: int
    offset: int


class BatchOut(BaseModel):
    """In the order of the events."""

    events: list[PlacedOut]


@dataclass(kw_only=True)
class Ingress:
    """What is behind the routes."""

    department: str
    catalogue: Catalogue
    producer: Publishes
    repeats: Repeats
    now: Callable[[], datetime]
    in_flight: int = 0
    _going: set[asyncio.Task[BatchOut]] = field(default_factory=set)

    async def take(self, events: Sequence[EventIn], where: Callable[[int], list[Any]], key: str | None) -> BatchOut:
        """Publish all, or the same answer as before under the same key. Raises `Problem`."""
        task = asyncio.create_task(self._once(events, where, key))
        self._going.add(task)
        task.add_done_callback(self._gone)
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                return await asyncio.shield(task)
        except TimeoutError:
            raise Problem(BUS_AWAY) from None

    def _gone(self, task: asyncio.Task[BatchOut]) -> None:
        self._going.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked was told, or waits no more

    async def _once(self, events: Sequence[EventIn], where: Callable[[int], list[Any]], key: str | None) -> BatchOut:
        if key is None:
            return await self._publish(events, where, None)
        request = "\n".join(event.model_dump_json() for event in events).encode()
        try:
            before = self.repeats.begin(key, request, self._now_ms())
        except OtherRequest:
            raise Problem(problems.KEY_REUSED) from None
        except UnderWay:
            raise Problem(REPEAT_UNDER_WAY) from None
        if before is not None:
            return BatchOut.model_validate_json(before)
        answer: BatchOut | None = None
        try:
            answer = await self._publish(events, where, key)
        finally:
            self.repeats.end(key, None if answer is None else answer.model_dump_json())
        return answer

    async def _publish(self, events: Sequence[EventIn], where: Callable[[int], list[Any]], key: str | None) -> BatchOut:
        ids = [event.id or self._event_id(key, place) for place, event in enumerate(events)]
        prepared = self._prepared(events, ids, where)
        if self.in_flight + len(prepared) > IN_FLIGHT_MAX:
            raise Problem(TOO_MUCH)
        self.in_flight += len(prepared)
        try:
            placed = [place async for place in self.producer.publish_all(prepared)]
        except PublishFault:
            raise Problem(BUS_AWAY) from None
        finally:
            self.in_flight -= len(prepared)
        out = [
            PlacedOut(id=ident, topic=p.topic, partition=p.partition, offset=p.offset)
            for ident, p in zip(ids, placed, strict=True)
        ]
        return BatchOut(events=out)

    def _prepared(
        self, events: Sequence[EventIn], ids: Sequence[str], where: Callable[[int], list[Any]]
    ) -> list[Prepared]:
        """Check every event before any goes. Raises `Problem`."""
        prepared: list[Prepared] = []
        errors: list[dict[str, Any]] = []
        for place, (event, ident) in enumerate(zip(events, ids, strict=True)):
            try:
                prepared.append(self._one(event, ident, place))
            except (UnknownContract, PublishFault):
                raise Problem(UNKNOWN_EVENT, errors=[{"where": [*where(place), "type"], "what": "unknown"}]) from None
            except Misfit as misfit:
                errors += [{"where": [*where(place), "value", *e.path], "what": e.what} for e in misfit.errors]
        if errors:
            raise Problem(MISFIT, errors=errors[:ERRORS_MAX])
        return prepared

    def _one(self, event: EventIn, ident: str, place: int) -> Prepared:
        contract = own_contract(self.catalogue, self.department, event.type)
        return addressed(
            contract,
            encoded(contract, event.value),
            pseudonym=bytes.fromhex(event.pseudonym),
            event_id=ident,
            time=event.time or self.now(),
            tag=place,
        )

    def _event_id(self, key: str | None, place: int) -> str:
        if key is None:
            return uuid.uuid4().hex
        return hashlib.sha256(f"passerelle/http\n{self.department}\n{key}\n{place}".encode()).hexdigest()[:32]

    def _now_ms(self) -> int:
        return int(self.now().timestamp() * 1000)


class IngressRoute(GuardedRoute):
    """Every route here is a department's."""

    rules: ClassVar[Mapping[tuple[str, str], frozenset[Role]]] = {
        ("POST", "/v1/events"): frozenset({Role.DEPARTMENT}),
        ("POST", "/v1/events/batch"): frozenset({Role.DEPARTMENT}),
    }


router = APIRouter(route_class=IngressRoute)
_REFUSED = refuses(
    NOT_OF_THIS_DEPARTMENT, UNKNOWN_EVENT, MISFIT, REPEAT_UNDER_WAY, TOO_MUCH, BUS_AWAY, problems.KEY_REUSED
)


@router.post("/v1/events", status_code=201)
@_REFUSED
async def publish(request: Request, body: EventIn, idempotency_key: IdempotencyKey = None) -> PlacedOut:
    """Publish one event."""
    taken = await _ingress(request).take([body], lambda _: ["body"], idempotency_key)
    return taken.events[0]


@router.post("/v1/events/batch", status_code=201)
@_REFUSED
async def publish_batch(request: Request, body: BatchIn, idempotency_key: IdempotencyKey = None) -> BatchOut:
    """Publish up to 500 events in their order. When one of them does not fit, none goes."""
    return await _ingress(request).take(body.events, lambda place: ["body", "events", place], idempotency_key)


@router.get("/v1/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> JSONResponse:
    """Describe this way in (OpenAPI 3.1)."""
    return JSONResponse(request.app.state.described())


def _ingress(request: Request) -> Ingress:
    """Return what is behind the routes, for a caller of its department. Raises `Problem`."""
    ingress: Ingress = request.app.state.ingress
    principal: Principal = request.state.principal
    if principal.department != ingress.department:
        raise Problem(NOT_OF_THIS_DEPARTMENT)
    return ingress


def make_app(ingress: Ingress, authenticate: Authenticator, rates: Rates) -> FastAPI:
    """Return the application."""
    app = FastAPI(
        title=f"Passerelle: events of {ingress.department}",
        description=DESCRIPTION,
        version="1",
        openapi_url=None,  # served by a route of ours, guarded as all are
        docs_url=None,
        redoc_url=None,
    )
    app.state.ingress = ingress
    app.state.described = cache(lambda: with_events(describe(app), ingress.department, ingress.catalogue))
    guard(app, [router], authenticate, rates)
    return app
