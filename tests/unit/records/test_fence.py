"""The fence as the service sees it: only a mark beyond the offset acknowledges; no answer never does."""

import asyncio

from passerelle_consent.records.fence import PASSED_PER_BATCH, Fence
from passerelle_consent.wire import JournalType
from unit.records.fakes import until


async def nothing_passed(fence):
    passed = asyncio.ensure_future(fence.passed())
    await asyncio.sleep(0)
    held = not passed.done()
    passed.cancel()
    return held


async def test_a_change_passes_when_the_mark_is_beyond_its_offset():
    fence = Fence(2)
    fence.expect(0, 7, b"a")
    fence.advance(0, 7)
    fence.advance(1, 99)
    assert await nothing_passed(fence)
    fence.advance(0, 8)
    assert await fence.passed() == [b"a"]
    assert await nothing_passed(fence)
    assert fence.waiting == 0


async def test_a_change_that_comes_after_its_mark_passes_at_once():
    fence = Fence(1)
    fence.advance(0, 8)
    fence.expect(0, 7, b"a")
    fence.expect(0, 8, b"b")
    assert await fence.passed() == [b"a"]
    assert fence.waiting == 1


async def test_a_mark_that_goes_back_takes_nothing_back_and_gives_nothing():
    fence = Fence(1)
    fence.advance(0, 8)
    fence.advance(0, 3)
    fence.expect(0, 5, b"a")
    assert await fence.passed() == [b"a"]
    fence.expect(0, 9, b"b")
    fence.advance(0, 4)
    assert await nothing_passed(fence)


async def test_batches_are_bounded_and_can_be_put_back():
    fence = Fence(1)
    for i in range(PASSED_PER_BATCH + 1):
        fence.expect(0, i, i.to_bytes(2))
    fence.advance(0, PASSED_PER_BATCH + 1)
    first = await fence.passed()
    assert len(first) == PASSED_PER_BATCH
    fence.put_back(first[:1])
    # In their order: an erasure must not overtake the withdrawal before it.
    assert await fence.passed() == [b"\x00\x00", PASSED_PER_BATCH.to_bytes(2)]


async def test_errors_and_garbage_acknowledge_nothing_and_do_not_end_the_reader(slow_city, monkeypatch):
    from passerelle_consent.records import fence

    monkeypatch.setattr(fence, "RETRY_S_FIRST", 0)
    city = slow_city
    (pseudonym,) = await city.link("Durand")
    await city.say("give", pseudonym)
    where = (await city.say("withdraw", pseudonym)).headers["location"]
    await until(lambda: len(city.broker.standings(city.ref(pseudonym))) == 3)
    record = city.broker.of("consent", city.ref(pseudonym))[-1]
    city.gate.marks.put_nowait(ConnectionError("no answer"))
    city.gate.put(record.partition, b"garbage")
    city.gate.put(record.partition, None)
    city.gate.apply(record.partition, record.offset)
    await until(city.gate.marks.empty)
    assert (await city.call("GET", where)).json()["status"] == "taking-effect"
    city.gate.apply(record.partition, record.offset + 1)
    await until(lambda: city.broker.journal()[-1].type is JournalType.FENCED)
    assert (await city.call("GET", "/readyz", token=None)).status_code == 200
