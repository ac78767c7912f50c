"""The HTTP way in, in one process: what it takes, how it refuses, what a repeat is told."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from passerelle.publish import ingress as ingress_module
from passerelle.publish.ingress import BATCH_MAX, IN_FLIGHT_MAX, Ingress, make_app
from passerelle.publish.outgoing import PublishFault
from passerelle.publish.producer import Placed
from passerelle.publish.repeats import KEPT_MS, OtherRequest, Repeats, UnderWay
from passerelle_consent.records.http.keys import FixedKeys
from passerelle_consent.records.http.rates import Rates
from passerelle_consent.records.http.tokens import Tokens, Trust
from passerelle_schemas.catalogue import Catalogue
from unit.records import issuer

CATALOGUE = Catalogue.load(Path(__file__).parents[3] / "schemas/contracts")
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
TYPE = "tax.income-assessed.v1"
VALUE = {
    "income_year": 2025,
    "reference_income_cents": 3_184_200,
    "parts_hundredths": 300,
    "assessed_on": "2026-08-03",
}
EVENT = {"type": TYPE, "pseudonym": "ab" * 16, "value": VALUE}


class Bus:
    """A producer in memory. `open` lets what waits go."""

    def __init__(self):
        self.published, self.away = [], False
        self.open = asyncio.Event()
        self.open.set()

    async def publish_all(self, events):
        await self.open.wait()
        for event in events:
            if self.away:
                raise PublishFault("away")
            self.published.append(event)
            yield Placed(topic=event.topic, partition=0, offset=len(self.published) - 1, tag=event.tag)

    def ids(self):
        return [dict(e.headers)["ce_id"].decode() for e in self.published]


class World:
    def __init__(self, file=":memory:"):
        self.bus = Bus()
        self.ingress = Ingress(
            department="tax", catalogue=CATALOGUE, producer=self.bus, repeats=Repeats(file), now=lambda: NOW
        )
        trust = Trust(issuer=issuer.ISSUER, audience=issuer.AUDIENCE, departments=frozenset({"tax", "schools"}))
        tokens = Tokens(FixedKeys(issuer.JWKS), trust, lambda: NOW_MS)
        app = make_app(self.ingress, tokens, Rates(lambda: NOW_MS))
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ingress")

    async def post(self, body, path="/v1/events", *, scope="department", department="tax", **headers):
        token = issuer.sign(issuer.claims(NOW_MS, scope, department))
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post(path, json=body, headers={"Authorization": f"Bearer {token}", **named})


@pytest.fixture
async def world():
    made = World()
    yield made
    await made.http.aclose()
    made.ingress.repeats.close()


def slug(answer):
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()["type"].rpartition(":")[2]


async def test_an_event_is_answered_once_the_bus_has_it(world):
    answer = await world.post({**EVENT, "id": "mine", "time": "2026-11-22T10:00:00+01:00"})
    assert answer.status_code == 201
    assert answer.json() == {"id": "mine", "topic": "outbox.tax.income-assessed", "partition": 0, "offset": 0}
    (event,) = world.bus.published
    assert event.key == b"\xab" * 16
    assert dict(event.headers)["ce_time"] == b"2026-11-22T09:00:00.000Z"
    assert CATALOGUE.decode(event.value)[1]["reference_income_cents"] == 3_184_200


async def test_a_batch_keeps_its_order(world):
    events = [{**EVENT, "id": f"e{n}"} for n in range(BATCH_MAX)]
    answer = await world.post({"events": events}, "/v1/events/batch")
    assert answer.status_code == 201
    assert [e["id"] for e in answer.json()["events"]] == world.bus.ids() == [f"e{n}" for n in range(BATCH_MAX)]


async def test_of_a_batch_all_go_or_none_and_each_wrong_field_is_named(world):
    wrong = {**EVENT, "value": {**VALUE, "income_year": "Marie", "assessed_on": "Curie"}}
    unknown = {**EVENT, "value": {**VALUE, "Marie Curie": 1}}
    answer = await world.post({"events": [EVENT, wrong, unknown]}, "/v1/events/batch")
    assert (answer.status_code, slug(answer)) == (422, "misfit")
    where = [e["where"] for e in answer.json()["errors"]]
    assert where == [
        ["body", "events", 1, "value", "assessed_on"],
        ["body", "events", 1, "value", "income_year"],
        ["body", "events", 2, "value", "?"],
    ]
    assert not world.bus.published
    assert "Marie" not in answer.text
    assert "Curie" not in answer.text


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"type": "schools.meal-tariff.v1"}, "unknown-event"),
        ({"type": "tax.taxpayer-moved.v1"}, "unknown-event"),
        ({"type": "Marie"}, "unknown-event"),
        ({"pseudonym": "Marie"}, "malformed-request"),
        ({"pseudonym": "AB" * 16}, "malformed-request"),
        ({"value": []}, "malformed-request"),
        ({"time": "2026-11-22T10:00:00"}, "malformed-request"),
        ({"id": ""}, "malformed-request"),
        ({"id": "é"}, "malformed-request"),
        ({"Marie": 1}, "unknown-member"),
        ({"value": {"income_year": 2025}}, "misfit"),
    ],
)
async def test_what_is_refused_is_a_problem_of_its_own(world, change, kind):
    answer = await world.post({**EVENT, **change})
    assert (answer.status_code, slug(answer)) == (422, kind)
    assert "Marie" not in answer.text
    assert not world.bus.published


async def test_nan_is_not_json(world):
    headers = {"Authorization": f"Bearer {issuer.sign(issuer.claims(NOW_MS, 'department', 'tax'))}"}
    body = json.dumps({**EVENT, "value": {"income_year": float("nan")}})
    answer = await world.http.post("/v1/events", content=body, headers={**headers, "Content-Type": "application/json"})
    assert (answer.status_code, slug(answer)) == (422, "misfit")


async def test_who_may_call(world):
    assert slug(await world.http.post("/v1/events", json=EVENT)) == "unauthenticated"
    assert slug(await world.post(EVENT, scope="officer")) == "insufficient-scope"
    assert slug(await world.post(EVENT, department="schools")) == "not-of-this-department"
    assert not world.bus.published


async def test_a_repeat_under_its_key_is_told_the_same_and_published_once(world):
    first = await world.post(EVENT, Idempotency_Key="k-1")
    again = await world.post(EVENT, Idempotency_Key="k-1")
    assert (again.status_code, again.json()) == (201, first.json())
    assert len(world.bus.published) == 1
    other = await world.post({**EVENT, "id": "other"}, Idempotency_Key="k-1")
    assert (other.status_code, slug(other)) == (422, "idempotency-key-reused")
    assert (await world.post(EVENT, Idempotency_Key="k-2")).json()["id"] != first.json()["id"]


async def test_a_request_that_failed_goes_again_under_its_key_with_the_same_ids(world):
    world.bus.away = True
    refused = await world.post(EVENT, Idempotency_Key="k-1")
    assert (refused.status_code, slug(refused), refused.headers["retry-after"]) == (503, "bus-away", "5")
    world.bus.away = False
    done = await world.post(EVENT, Idempotency_Key="k-1")
    assert done.status_code == 201
    assert done.json()["id"] == world.ingress._event_id("k-1", 0)


async def test_a_repeat_while_the_first_is_under_way_waits_its_turn(world):
    world.bus.open.clear()
    first = asyncio.create_task(world.post(EVENT, Idempotency_Key="k-1"))
    while not world.ingress.in_flight:  # noqa: ASYNC110 - the request tells nobody that it has begun
        await asyncio.sleep(0)
    again = await world.post(EVENT, Idempotency_Key="k-1")
    assert (again.status_code, slug(again), again.headers["retry-after"]) == (409, "repeat-under-way", "1")
    world.bus.open.set()
    assert (await first).status_code == 201


async def test_a_caller_waits_for_the_bus_within_bounds_and_its_repeat_is_told_how_it_ended(world, monkeypatch):
    monkeypatch.setattr(ingress_module, "ANSWER_S_MAX", 0.05)
    world.bus.open.clear()
    refused = await world.post(EVENT, Idempotency_Key="k-1")
    assert (refused.status_code, slug(refused), refused.headers["retry-after"]) == (503, "bus-away", "5")
    assert slug(await world.post(EVENT, Idempotency_Key="k-1")) == "repeat-under-way"
    assert world.ingress.in_flight == 1  # it has not been called back
    (going,) = world.ingress._going
    world.bus.open.set()
    await going
    done = await world.post(EVENT, Idempotency_Key="k-1")
    assert (done.status_code, done.json()["offset"]) == (201, 0)
    assert len(world.bus.published) == 1
    assert not world.ingress._going


async def test_beyond_what_the_bus_takes_callers_are_told_to_wait(world):
    world.bus.open.clear()
    batch = {"events": [EVENT] * BATCH_MAX}
    held = [asyncio.create_task(world.post(batch, "/v1/events/batch")) for _ in range(IN_FLIGHT_MAX // BATCH_MAX)]
    while world.ingress.in_flight < IN_FLIGHT_MAX:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0)
    refused = await world.post(EVENT)
    assert (refused.status_code, slug(refused), refused.headers["retry-after"]) == (429, "too-much-at-once", "1")
    world.bus.open.set()
    assert {answer.status_code for answer in await asyncio.gather(*held)} == {201}
    assert world.ingress.in_flight == 0
    assert (await world.post(EVENT)).status_code == 201


def test_a_key_is_remembered_by_the_next_process_for_a_day(tmp_path):
    first = Repeats(tmp_path / "repeats")
    assert first.begin("k", b"request", 0) is None
    with pytest.raises(UnderWay):
        first.begin("k", b"request", 0)
    first.end("k", "answer")
    first.begin("cut off", b"request", 0)
    first.close()
    second = Repeats(tmp_path / "repeats")
    assert second.begin("k", b"request", 1) == "answer"
    with pytest.raises(OtherRequest):
        second.begin("k", b"other", 1)
    assert second.begin("cut off", b"request", 1) is None
    second.close()
    third = Repeats(tmp_path / "repeats")
    assert third.begin("k", b"other", KEPT_MS + 1) is None
    third.close()


def test_keys_are_bounded(monkeypatch):
    monkeypatch.setattr("passerelle.publish.repeats.KEYS_MAX", 3)
    monkeypatch.setattr("passerelle.publish.repeats.SWEEP_EVERY", 1)
    repeats = Repeats(":memory:")
    for n in range(10):
        repeats.begin(f"k{n}", b"", n)
        repeats.end(f"k{n}", "done")
    assert repeats._db.execute("SELECT count(*) FROM repeat").fetchone()[0] <= 4 + 1
    repeats.close()


def test_the_routes_document_their_refusals():
    kinds = {kind.slug for route in ingress_module.router.routes for kind in route.kinds}
    assert {"misfit", "too-much-at-once", "bus-away", "repeat-under-way", "idempotency-key-reused"} <= kinds
