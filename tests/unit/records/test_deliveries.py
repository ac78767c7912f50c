"""A recipient asks again about a delivery that it holds: the gate's decision as of now, on its own flows alone."""

import pytest

from unit.records.fakes import City, citizen
from unit.records.told import BUNDLE

SCHOOLS = {"scope": "department", "department": "schools"}


@pytest.fixture
async def bound(store_url):
    city = City(store_url, bundle=BUNDLE)
    await city.up()
    yield city
    await city.down()


async def check(city, flow, pseudonym, who=SCHOOLS):
    answer = await city.call("POST", "/v1/deliveries/check", {"flow": flow, "pseudonym": pseudonym}, who)
    return answer.status_code, answer.json()


async def test_what_was_withdrawn_is_denied_at_once(bound):
    (desk,) = await bound.link("Durand")
    (here,) = await bound.link("Durand", token=SCHOOLS)
    assert (await check(bound, "moves", here))[1]["reason"] == "consent-not-given"
    for said, verdict in (("give", "permit"), ("withdraw", "deny")):
        path = f"/v1/subjects/{desk}/agreements/home/{said}"
        assert (await bound.call("POST", path, {"notice": 1}, citizen(desk))).status_code == 200
        assert (await check(bound, "moves", here))[1]["verdict"] == verdict


async def test_nobody_is_known_by_a_pseudonym_that_nobody_linked(bound):
    status, said = await check(bound, "moves", "0" * 32)
    assert (status, said["verdict"], said["reason"]) == (200, "deny", "unknown-subject")


@pytest.mark.parametrize(("flow", "department"), [("moves", "tax"), ("nothing", "schools")])
async def test_others_flows_are_nobodys_business(bound, flow, department):
    status, said = await check(bound, flow, "0" * 32, {"scope": "department", "department": department})
    assert (status, said["type"]) == (403, "urn:passerelle:problem:not-the-recipient")


async def test_a_check_is_no_reading_and_is_not_journalled(bound):
    (here,) = await bound.link("Durand", token=SCHOOLS)
    before = list(bound.broker.records)
    await check(bound, "moves", here)
    assert bound.broker.records == before
