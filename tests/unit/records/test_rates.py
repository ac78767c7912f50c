"""Rate limits: one caller does not take the service from the others."""

import pytest

from passerelle_consent.records.http import rates as rates_module
from passerelle_consent.records.http.rates import LIMITS, Limit, Rates
from passerelle_consent.records.ports import Principal, Role
from passerelle_consent.records.problems import Problem
from unit.records.fakes import City, citizen

SLOW = Limit(name="test", a_second=2, burst=3)


class StoppedClock:
    now_ms = 0

    def __call__(self):
        return self.now_ms


def principal(name, *roles):
    return Principal(name=name, department="tax", roles=frozenset(roles))


@pytest.fixture
def clock():
    return StoppedClock()


@pytest.fixture
def rates(clock):
    return Rates(clock, {**dict.fromkeys(Role, SLOW), Role.OPERATOR: LIMITS[Role.OPERATOR]}, SLOW)


def test_a_bucket_empties_and_fills_again(clock, rates):
    who = principal("tax", Role.DEPARTMENT)
    left = [rates.principal(who)["RateLimit"] for _ in range(3)]
    assert left == ['"test";r=2;t=1', '"test";r=1;t=1', '"test";r=0;t=2']
    with pytest.raises(Problem) as refused:
        rates.principal(who)
    assert refused.value.kind.slug == "rate-limited"
    assert refused.value.headers["Retry-After"] == "1"
    assert refused.value.headers["RateLimit-Policy"] == '"test";q=3;w=2'
    clock.now_ms += 500
    rates.principal(who)
    with pytest.raises(Problem):
        rates.principal(who)
    clock.now_ms += 3_600_000
    for _ in range(3):
        rates.principal(who)
    with pytest.raises(Problem):
        rates.principal(who)


def test_callers_do_not_share_a_bucket(rates):
    for _ in range(3):
        rates.principal(principal("tax", Role.DEPARTMENT))
        rates.address("192.0.2.1")
    rates.principal(principal("schools", Role.DEPARTMENT))
    rates.address("192.0.2.2")
    rates.address("tax")
    with pytest.raises(Problem):
        rates.address("192.0.2.1")


def test_of_several_roles_the_widest_counts(rates):
    for _ in range(100):
        rates.principal(principal("op", Role.OPERATOR, Role.AUDITOR))


def test_a_clock_that_goes_back_takes_nothing_away(clock, rates):
    clock.now_ms = 10_000
    rates.address("a")
    clock.now_ms = 0
    rates.address("a")
    rates.address("a")
    with pytest.raises(Problem):
        rates.address("a")


def test_callers_remembered_are_bounded_and_the_latest(monkeypatch, rates):
    monkeypatch.setattr(rates_module, "BUCKETS_MAX", 2)
    for _ in range(3):
        rates.address("busy")
    for n in range(5):
        rates.address(str(n))
        with pytest.raises(Problem):
            rates.address("busy")
    assert len(rates._buckets) == 2


def test_every_role_has_a_limit():
    assert LIMITS.keys() == set(Role)


@pytest.fixture
async def small_city(store_url, rates):
    city = City(store_url, rates=rates)
    await city.up()
    yield city
    await city.down()


async def test_a_caller_beyond_its_limit_is_told_when_to_come_back_and_changes_nothing(small_city):
    city = small_city
    (pseudonym,) = await city.link("Durand")
    who = citizen(pseudonym)
    first = await city.say("give", pseudonym)
    assert first.headers["ratelimit"] == '"test";r=2;t=1'
    for _ in range(2):
        await city.call("GET", "/v1/subjects/me/standing", token=who)
    before = list(city.broker.records)
    answer = await city.say("withdraw", pseudonym)
    assert (answer.status_code, answer.json()["type"]) == (429, "urn:passerelle:problem:rate-limited")
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["ratelimit"].startswith('"test";r=0')
    assert len(answer.headers.get_list("ratelimit")) == 1
    assert city.broker.records == before


async def test_strangers_are_counted_by_address_whatever_they_try(small_city):
    city = small_city
    for token in ("guess", None, "guess-again"):
        answer = await city.call("GET", "/v1/subjects/me/standing", token=token)
        assert answer.status_code == 401
        assert answer.headers["ratelimit-policy"] == '"test";q=3;w=2'
    assert (await city.call("GET", "/v1/subjects/me/standing", token="guess")).status_code == 429
    assert (await city.call("GET", "/v1/openapi.json", token=None)).status_code == 429
    await city.link("Durand")  # who has a token is not held up by strangers at the same address
