"""Every route's way through, against a broker and a gate in memory."""

import asyncio

import pytest

from passerelle_consent.policy.standing import State
from passerelle_consent.wire import JournalType
from unit.records.fakes import identity, until


async def test_linking_gives_pseudonyms_and_writes_the_first_standing(city):
    first, second = await city.link("Durand", "Petit")
    assert len({first, second}) == 2
    (standing,) = city.broker.standings(city.ref(first))
    assert (standing.linked, standing.revision, dict(standing.stances)) == (True, 1, {})
    linked = [e for e in city.broker.journal() if e.type is JournalType.LINKED]
    assert {(e.subject, e.department) for e in linked} == {
        (city.ref(first), "citizen-desk"),
        (city.ref(second), "citizen-desk"),
    }


async def test_linking_again_changes_nothing_and_another_department_adds_a_link_only(city):
    (desk,) = await city.link("Durand")
    before = len(city.broker.records)
    assert await city.link("Durand", "Durand") == [desk, desk]
    assert len(city.broker.records) == before
    (tax,) = await city.link("Durand", token="tax")
    assert tax != desk
    assert city.ref(tax, "tax") == city.ref(desk)
    assert len(city.broker.standings(city.ref(desk))) == 1
    assert city.broker.journal()[-1].department == "tax"


async def test_a_give_is_answered_once_the_broker_has_it(city):
    (pseudonym,) = await city.link("Durand")
    city.gate.diligent = False
    answer = await city.say("give", pseudonym)
    body = answer.json()
    assert answer.status_code == 200
    assert (body["status"], body["state"], body["agreement"]) == ("in-effect", "given", "moves-to-schools@1")
    record = city.broker.of("consent", city.ref(pseudonym))[-1]
    assert (body["consent_partition"], body["consent_offset"]) == (record.partition, record.offset)
    assert body["standing"]["revision"] == 2
    assert city.broker.standings(city.ref(pseudonym))[-1].stances["moves-to-schools"].state is State.GIVEN


async def test_giving_again_renews_and_a_compatible_notice_is_accepted(city):
    (pseudonym,) = await city.link("Durand")
    assert (await city.say("give", pseudonym, "moves-to-tax", notice=3)).json()["state"] == "given"
    assert (await city.say("give", pseudonym, "moves-to-tax", notice=2)).json()["state"] == "renewed"


async def test_refusing(city):
    (pseudonym,) = await city.link("Durand")
    answer = await city.say("refuse", pseudonym, token="desk", by="subject")
    assert (answer.status_code, answer.json()["state"]) == (200, "refused")
    assert answer.json()["standing"]["agreements"][0]["by"] == "subject"


@pytest.mark.parametrize(
    ("action", "agreement"), [("withdraw", "moves-to-schools"), ("object", "moves-to-cleanliness")]
)
async def test_what_ends_a_sharing_is_answered_only_after_the_fence(city, action, agreement):
    (pseudonym,) = await city.link("Durand")
    if action == "withdraw":
        await city.say("give", pseudonym, agreement)
    city.gate.diligent = False
    written = len(city.broker.of("consent"))
    asking = asyncio.create_task(city.say(action, pseudonym, agreement))
    await until(lambda: len(city.broker.of("consent")) > written)
    record = city.broker.of("consent")[-1]
    city.gate.apply(record.partition, record.offset)  # applied up to it, not beyond: not yet
    await city.call("GET", "/healthz")
    assert not asking.done()
    city.gate.apply(record.partition, record.offset + 1)
    answer = await asking
    assert (answer.status_code, answer.json()["consent_offset"]) == (200, record.offset)
    assert answer.json()["acknowledged_at"] is not None


async def test_the_fence_is_journalled_and_names_the_withdrawal(city):
    (pseudonym,) = await city.link("Durand")
    await city.say("give", pseudonym)
    answer = await city.say("withdraw", pseudonym)
    await until(lambda: city.broker.journal()[-1].type is JournalType.FENCED)
    withdrawn, fenced = city.broker.journal()[-2:]
    assert (withdrawn.type, fenced.regarding) == (JournalType.WITHDRAWN, withdrawn.id)
    assert withdrawn.id.hex() == answer.json()["acknowledgement"]
    assert (fenced.subject, fenced.agreements) == (withdrawn.subject, ("moves-to-schools@1",))


async def test_without_patience_the_answer_says_where_to_look(slow_city):
    city = slow_city
    (pseudonym,) = await city.link("Durand")
    await city.say("give", pseudonym)
    answer = await city.say("withdraw", pseudonym)
    assert (answer.status_code, answer.json()["status"]) == (202, "taking-effect")
    where = answer.headers["location"]
    assert (await city.call("GET", where)).json()["status"] == "taking-effect"
    await until(lambda: len(city.broker.standings(city.ref(pseudonym))) == 3)
    record = city.broker.of("consent", city.ref(pseudonym))[-1]
    city.gate.apply(record.partition, record.offset + 1)
    body = await city.until_shown(where, lambda body: body["status"] == "in-effect")
    assert (body["consent_offset"], body["state"]) == (record.offset, "withdrawn")


async def test_an_override_reaches_the_standing_and_ends_in_time(city):
    (pseudonym,) = await city.link("Durand", token="desk")
    emergency = city.register.pseudonyms("emergency", [city.ref(pseudonym)])[0].hex()
    body = {
        "agreements": ["frail-to-emergency"],
        "reason_code": "heatwave",
        "hours": 72,
    }
    answer = await city.call("POST", f"/v1/subjects/{emergency}/overrides", body, "officer")
    assert (answer.status_code, answer.json()["state"]) == (200, "override")
    (override,) = city.broker.standings(city.ref(pseudonym))[-1].overrides
    assert override.agreement == "frail-to-emergency"
    assert override.until_ms - city.clock.now_ms <= 72 * 3_600_000
    assert [e.type for e in city.broker.journal()][-1] is JournalType.OVERRIDE
    city.clock.now_ms += 73 * 3_600_000
    standing = await city.call("GET", f"/v1/subjects/{emergency}/standing", token="officer")
    assert standing.json()["overrides"] == []


async def test_the_standing_is_shown(city):
    (pseudonym,) = await city.link("Durand")
    await city.say("give", pseudonym)
    answer = await city.call("GET", f"/v1/subjects/{pseudonym}/standing")
    (stance,) = answer.json()["agreements"]
    assert (stance["agreement"], stance["state"], stance["notice"]) == ("moves-to-schools", "given", 1)
    assert stance["at"].startswith("2026-05-01T00:00:00.")


async def test_health_needs_no_token(city):
    assert (await city.call("GET", "/healthz", token=None)).json() == {"status": "alive"}
    assert (await city.call("GET", "/readyz", token=None)).json() == {"status": "ready"}


async def test_a_broker_that_takes_nothing_shows_in_readiness(monkeypatch, slow_city):
    monkeypatch.setattr("passerelle_consent.records.service.DRAIN_S", 0)
    city = slow_city
    city.broker.silent = True
    body = {"identities": [identity("Durand")]}
    answer = await city.call("POST", "/v1/links", body)
    assert (answer.status_code, answer.json()["status"]) == (200, "taking-effect")
    await until(lambda: city.records._relay.waiting_since_ms is not None)
    city.clock.now_ms += 11_000
    ready = await city.call("GET", "/readyz", token=None)
    assert (ready.status_code, ready.json()["type"]) == (503, "urn:passerelle:problem:not-ready")
    city.broker.silent = False


async def test_the_same_idempotency_key_gives_the_same_answer_and_changes_once(city):
    (pseudonym,) = await city.link("Durand")
    await city.say("give", pseudonym)
    first = await city.say("withdraw", pseudonym, key="k-1")
    again = await city.say("withdraw", pseudonym, key="k-1")
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    assert len(city.broker.standings(city.ref(pseudonym))) == 3


async def test_repeats_that_race_change_once(city):
    (pseudonym,) = await city.link("Durand")
    answers = await asyncio.gather(*(city.say("give", pseudonym, key="k-2") for _ in range(8)))
    assert {a.json()["acknowledgement"] for a in answers} == {answers[0].json()["acknowledgement"]}
    assert len(city.broker.standings(city.ref(pseudonym))) == 2


async def test_many_at_once_keep_each_subjects_order(city):
    pseudonyms = await city.link(*(f"N{i}" for i in range(60)))
    await asyncio.gather(*(city.say("give", p) for p in pseudonyms))
    answers = await asyncio.gather(*(city.say("withdraw", p) for p in pseudonyms))
    assert {a.status_code for a in answers} == {200}
    for p in pseudonyms:
        assert [s.revision for s in city.broker.standings(city.ref(p))] == [1, 2, 3]
