"""ETag and If-Match, and Idempotency-Key: what is asked twice, or of a standing that is no more."""

import asyncio

import pytest

from unit.records.fakes import citizen

STANDING = "/v1/subjects/me/standing"


@pytest.fixture
async def who(city):
    (pseudonym,) = await city.link("Durand")
    return citizen(pseudonym)


async def tag(city, who):
    return (await city.call("GET", STANDING, token=who)).headers["etag"]


async def say(city, who, action, **headers):
    path = f"/v1/subjects/me/agreements/moves-to-schools/{action}"
    return await city.call("POST", path, {"notice": 1}, who, **headers)


def problem(answer):
    return answer.status_code, answer.json()["type"].rpartition(":")[2]


async def test_a_change_of_the_standing_that_was_seen(city, who):
    seen = await tag(city, who)
    assert (await say(city, who, "give", If_Match=seen)).status_code == 200
    assert await tag(city, who) != seen


async def test_a_stale_etag_changes_nothing(city, who):
    seen = await tag(city, who)
    await say(city, who, "give")
    before = list(city.broker.records)
    assert problem(await say(city, who, "withdraw", If_Match=seen)) == (412, "stale-etag")
    assert problem(await say(city, who, "withdraw", If_Match=f"W/{await tag(city, who)}")) == (412, "stale-etag")
    assert problem(await say(city, who, "withdraw", If_Match='"x", "y"')) == (412, "stale-etag")
    assert city.broker.records == before
    assert (await say(city, who, "withdraw", If_Match=f'"x", {await tag(city, who)}')).status_code == 200


async def test_any_standing_will_do_for_an_asterisk(city, who):
    assert (await say(city, who, "give", If_Match="*")).status_code == 200
    nobody = citizen("0" * 32)
    assert problem(await say(city, nobody, "give", If_Match="*")) == (404, "unknown-subject")
    assert problem(await say(city, nobody, "give", If_Match='"x"')) == (404, "unknown-subject")


@pytest.mark.parametrize("tags", ["x", '"x', '"x" "y"', "", '"x",', '"' + "x" * 2_000 + '"'])
async def test_what_is_no_entity_tag(city, who, tags):
    assert problem(await say(city, who, "give", If_Match=tags)) == (422, "malformed-request")


async def test_of_two_who_change_what_they_saw_one_does(city, who):
    seen = await tag(city, who)
    answers = await asyncio.gather(*(say(city, who, action, If_Match=seen) for action in ("give", "refuse") * 3))
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412, 412, 412]
    assert len(city.broker.standings(city.ref(who["pseudonym"]))) == 2


async def test_an_override_that_ends_by_itself_is_another_standing(city, who):
    emergency = city.register.pseudonyms("emergency", [city.ref(who["pseudonym"])])[0].hex()
    body = {"agreements": ["frail-to-emergency"], "reason_code": "heatwave", "hours": 1}
    assert (await city.call("POST", f"/v1/subjects/{emergency}/overrides", body, "officer")).status_code == 200
    seen = await tag(city, who)
    city.clock.now_ms += 3_700_000
    assert await tag(city, who) != seen
    assert problem(await say(city, who, "give", If_Match=seen)) == (412, "stale-etag")


async def test_who_has_the_standing_already_is_told_so(city, who):
    seen = await tag(city, who)
    answer = await city.call("GET", STANDING, token=who, If_None_Match=f'"x", {seen}')
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", seen)
    assert (await city.call("GET", STANDING, token=who, If_None_Match='"x"')).status_code == 200


async def test_a_repeat_is_answered_as_the_first_even_if_it_could_not_be_asked_anew(city, who):
    seen = await tag(city, who)
    first = await say(city, who, "give", Idempotency_Key="k", If_Match=seen)
    await say(city, who, "withdraw")
    again = await say(city, who, "give", Idempotency_Key="k", If_Match=seen)
    assert again.json()["acknowledgement"] == first.json()["acknowledgement"]


async def test_keys_are_the_callers_own(city, who):
    (other,) = await city.link("Petit")
    first = await say(city, who, "give", Idempotency_Key="k")
    second = await say(city, citizen(other), "give", Idempotency_Key="k")
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json()["acknowledgement"] != second.json()["acknowledgement"]


async def test_what_was_refused_may_be_asked_again_under_its_key(city, who):
    assert problem(await say(city, who, "withdraw", Idempotency_Key="k")) == (409, "illegal-transition")
    await say(city, who, "give")
    assert (await say(city, who, "withdraw", Idempotency_Key="k")).status_code == 200


async def test_a_key_is_forgotten_after_a_day(city, who):
    from functools import partial

    from passerelle_consent.records import changes
    from passerelle_consent.records.service import REMEMBER_KEYS_MS

    first = await say(city, who, "give", Idempotency_Key="k")
    await city.store.write(partial(changes.forget_keys, before_ms=city.clock.now_ms - REMEMBER_KEYS_MS))
    same = await say(city, who, "give", Idempotency_Key="k")
    assert same.json()["acknowledgement"] == first.json()["acknowledgement"]
    city.clock.now_ms += REMEMBER_KEYS_MS
    await city.store.write(partial(changes.forget_keys, before_ms=city.clock.now_ms - REMEMBER_KEYS_MS))
    new = await say(city, who, "give", Idempotency_Key="k")
    assert new.json()["acknowledgement"] != first.json()["acknowledgement"]
