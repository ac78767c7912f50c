"""The outbox and the relay: order, failures, and a crash at each step between the commit and the broker."""

import asyncio

import pytest

from passerelle_consent.records.relay import RETRY_S_MAX, ROWS_PER_BATCH
from passerelle_consent.wire import JournalType, decode_standing
from unit.records.fakes import City, Producer, Retriable, until


@pytest.fixture
def no_back_off(monkeypatch):
    from passerelle_consent.records import relay

    monkeypatch.setattr(relay, "RETRY_S_FIRST", 0)


async def crash(city):
    """End the process's tasks without a chance to finish: what is in the store is all that is left."""
    for task in city.records._tasks:
        task.cancel()
    await asyncio.gather(*city.records._tasks, return_exceptions=True)
    await city.store.close()
    await city.http.aclose()


async def test_a_journal_entry_stands_before_the_standing_that_it_tells_of(city):
    (pseudonym,) = await city.link("Durand")
    await city.say("give", pseudonym)
    journal, consent = city.broker.records[-2:]
    assert (journal.topic, consent.topic) == ("consent.journal", "consent")
    assert journal.partition == consent.partition


async def test_rows_behind_a_failed_one_are_sent_again_behind_it(city, no_back_off):
    pseudonyms = await city.link(*(f"N{i}" for i in range(6)))
    start = city.broker.sends
    city.broker.failures = {start + 3: Retriable()}
    await asyncio.gather(*(city.say("give", p) for p in pseudonyms))
    await asyncio.gather(*(city.say("withdraw", p) for p in pseudonyms))
    assert city.broker.producers == 1
    for p in pseudonyms:
        revisions = [s.revision for s in city.broker.standings(city.ref(p))]
        assert sorted(set(revisions)) == [1, 2, 3]
        assert revisions[-1] == 3, "the last record of a subject is its newest standing"


async def test_an_offset_counts_only_when_all_before_it_is_written(slow_city, no_back_off):
    city = slow_city
    first, second = await city.link("Durand", "Petit")
    await asyncio.gather(city.say("give", first), city.say("give", second))
    await until(lambda: not city.broker.failures)
    start = city.broker.sends
    city.broker.failures = {start: Retriable()}  # the first row of whatever comes next fails, the others pass
    answers = await asyncio.gather(city.say("withdraw", first), city.say("withdraw", second))
    for p, answer in zip((first, second), answers, strict=True):
        where = answer.headers["location"]
        await city.until_shown(where, lambda body: body["consent_offset"] is not None)
        last = city.broker.of("consent", city.ref(p))[-1]
        assert (await city.call("GET", where)).json()["consent_offset"] == last.offset


async def test_a_producer_that_failed_for_good_is_replaced(city, no_back_off):
    (pseudonym,) = await city.link("Durand")
    city.broker.failures = {city.broker.sends: RuntimeError("sequence lost")}
    assert (await city.say("give", pseudonym)).status_code == 200
    assert city.broker.producers == 2


async def test_a_producer_that_does_not_close_ends_the_service(city, no_back_off, monkeypatch):
    from passerelle_consent.records import relay

    async def never(_):
        await asyncio.Event().wait()

    (pseudonym,) = await city.link("Durand")
    monkeypatch.setattr(relay, "STOP_S_MAX", 0.01)
    monkeypatch.setattr(Producer, "stop", never)
    city.broker.failures = {city.broker.sends: RuntimeError("sequence lost")}
    city.records._parts = city.records._parts.__class__(
        **{f: getattr(city.records._parts, f) for f in city.records._parts.__slots__ if f != "patience_s"}, patience_s=0
    )
    assert (await city.say("give", pseudonym)).status_code == 202
    await until(lambda: city.broken)
    assert city.broken[0].exit_code == 75
    assert (await city.call("GET", "/readyz", token=None)).status_code == 503


async def test_a_record_whose_place_the_broker_forgot_is_sent_anew(city, no_back_off):
    (pseudonym,) = await city.link("Durand")
    city.broker.lost_offsets = {city.broker.sends + 1}
    body = (await city.say("give", pseudonym)).json()
    records = city.broker.of("consent", city.ref(pseudonym))
    assert body["consent_offset"] == records[-1].offset
    assert [decode_standing(r.value).revision for r in records] == [1, 2, 2]


async def test_a_batch_is_bounded(store_url):
    city = City(store_url)
    await city.up()
    await city.link(*(f"N{i}" for i in range(900)))
    assert len(city.broker.of("consent.journal")) == 900 + 1 + len(city.agreements)
    assert city.broker.sends > 3 * ROWS_PER_BATCH
    assert RETRY_S_MAX < 10
    await city.down()


async def test_a_crash_between_commit_and_relay_loses_nothing_and_keeps_order(store_url):
    city = City(store_url, patience_s=0)
    city.broker.silent = True
    await city.up()
    pseudonyms = await city.link("Durand", "Petit")
    for action in ("give", "withdraw", "give"):
        for p in pseudonyms:
            await city.say(action, p)
    await crash(city)
    assert city.broker.records == []

    city.broker.silent = False
    await city.up()
    await until(lambda: sum(e.type is JournalType.FENCED for e in city.broker.journal()) == 2)
    for p in pseudonyms:
        assert [s.revision for s in city.broker.standings(city.ref(p))] == [1, 2, 3, 4]
    assert len(city.broker.policies()) == 4
    await city.down()


async def test_a_crash_between_the_broker_and_the_store_repeats_and_keeps_order(store_url, monkeypatch):
    from passerelle_consent.records.relay import Relay

    async def never(*_):
        await asyncio.Event().wait()

    city = City(store_url, patience_s=0, diligent=False)
    with monkeypatch.context() as before:
        before.setattr(Relay, "_note", never)
        await city.up()
        (pseudonym,) = await city.link("Durand")
        await city.say("give", pseudonym)
        withdrawn = (await city.say("withdraw", pseudonym)).json()["acknowledgement"]
        await until(lambda: city.broker.records)
        await crash(city)

    await city.up()
    await until(lambda: len(city.broker.standings(city.ref(pseudonym))) >= 3)
    assert city.broker.standings(city.ref(pseudonym))[-1].revision == 3
    record = city.broker.of("consent", city.ref(pseudonym))[-1]
    city.gate.apply(record.partition, record.offset + 1)
    await until(lambda: city.broker.journal()[-1].type is JournalType.FENCED)
    assert city.broker.journal()[-1].regarding.hex() == withdrawn
    await city.down()


async def test_what_had_not_taken_effect_is_waited_for_again_after_a_restart(store_url):
    city = City(store_url, patience_s=0, diligent=False)
    await city.up()
    (pseudonym,) = await city.link("Durand")
    await city.say("give", pseudonym)
    where = (await city.say("withdraw", pseudonym)).headers["location"]
    await city.down()
    record = city.broker.of("consent", city.ref(pseudonym))[-1]
    records = len(city.broker.records)

    await city.up()
    assert (await city.call("GET", where)).json()["acknowledged_at"] is None
    city.gate.apply(record.partition, record.offset + 1)
    await until(lambda: city.broker.journal()[-1].type is JournalType.FENCED)
    body = (await city.call("GET", where)).json()
    assert (body["status"], body["consent_offset"]) == ("in-effect", record.offset)
    await city.down()
    assert len(city.broker.records) == records + 1, "an orderly stop leaves nothing to repeat"


async def test_a_request_that_is_given_up_is_carried_out_all_the_same(slow_city):
    city = slow_city
    (pseudonym,) = await city.link("Durand")
    await city.say("give", pseudonym)
    asking = asyncio.create_task(city.say("withdraw", pseudonym))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    again = await city.say("withdraw", pseudonym)
    assert again.status_code in (202, 409)
    await until(lambda: len(city.broker.standings(city.ref(pseudonym))) == 3)


async def test_two_processes_cannot_serve_one_store(city, store_url):
    from passerelle_consent.records.store import Store, StoreFault

    with pytest.raises(StoreFault, match="another process serves this store"):
        await Store(store_url).open()


async def test_a_batch_that_does_not_stand_is_sent_as_a_whole_by_a_new_producer(city, no_back_off):
    (pseudonym,) = await city.link("Durand")
    city.broker.undoes = [True]
    assert (await city.say("give", pseudonym)).status_code == 200
    assert city.broker.producers == 2
    assert [s.revision for s in city.broker.standings(city.ref(pseudonym))] == [1, 2, 2]


async def test_a_relay_whose_place_was_taken_does_not_take_it_back(slow_city, no_back_off):
    city = slow_city
    (pseudonym,) = await city.link("Durand")
    await until(lambda: city.broker.of("consent", city.ref(pseudonym)))
    city.broker.superseded = True
    await city.say("give", pseudonym)
    await until(lambda: city.broken)
    assert city.broken[0].exit_code == 75
    assert city.broker.producers == 1
