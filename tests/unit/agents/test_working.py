"""Lanes, patience and folding: how a worker goes about its batches."""

import asyncio
import sqlite3

import pytest
from aiokafka.errors import KafkaConnectionError, TopicAuthorizationFailedError

from passerelle.agents import patience
from passerelle.agents.folding import Folder
from passerelle.agents.lanes import Lanes
from passerelle.agents.lineage import derived
from passerelle.agents.patience import GAVE_UP, BrokerFault, until_done
from passerelle.agents.reading import Batch
from passerelle.agents.state import Memory
from passerelle.testkit.bus import Bus


class Stopped(BaseException):
    pass


def stop(why, **where):
    assert "Canary" not in str(where)
    raise Stopped(why, where.get("refused"))


async def test_a_fault_of_the_broker_repeats_the_batch(monkeypatch):
    monkeypatch.setattr(patience, "BACKOFF_S", (0.0,))
    tries = []

    async def attempt(_):
        tries.append(1)
        if len(tries) < 3:
            raise KafkaConnectionError
        if len(tries) == 3:
            raise BrokerFault

    await until_done(attempt, stop=stop)
    assert len(tries) == 4


async def test_a_missing_right_or_a_fault_of_ours_ends_the_process():
    async def forbidden(_):
        raise TopicAuthorizationFailedError("exchange")

    async def broken(_):
        raise ZeroDivisionError("Canary")

    with pytest.raises(Stopped) as ended:
        await until_done(forbidden, stop=stop)
    assert ended.value.args == ("TopicAuthorizationFailedError", "exchange")
    with pytest.raises(Stopped) as ended:
        await until_done(broken, stop=stop)
    assert ended.value.args == ("ZeroDivisionError", None)


async def test_a_broker_that_does_not_answer_ends_the_process_unless_there_is_progress(monkeypatch):
    monkeypatch.setattr(patience, "PATIENCE_S", 1.0)
    progressed = []

    async def attempt(waiting):
        while len(progressed) < 5:
            await asyncio.sleep(0.3)
            progressed.append(1)
            waiting.progress()
        await asyncio.Event().wait()

    with pytest.raises(Stopped, match="no success"):
        await until_done(attempt, stop=stop)
    assert len(progressed) == 5


def test_giving_up_asks_the_supervisor_for_a_new_start(monkeypatch):
    monkeypatch.setattr(patience.os, "_exit", lambda code: (_ for _ in ()).throw(SystemExit(code)))
    with pytest.raises(SystemExit) as ended:
        patience.give_up("for a test")
    assert ended.value.code == GAVE_UP == 75


async def test_partitions_overlap_and_the_batches_of_one_stay_in_order():
    lanes, begun = Lanes(width=4), []
    starts, gates = ({n: asyncio.Event() for n in range(4)} for _ in range(2))

    async def work(n):
        begun.append(n)
        starts[n].set()
        await gates[n].wait()

    await lanes.start(0, lambda: work(0))
    await lanes.start(0, lambda: work(1))
    await lanes.start(1, lambda: work(2))
    await lanes.start(1, lambda: work(3))
    await asyncio.sleep(0)
    assert begun == [0, 2]
    gates[2].set()
    await starts[3].wait()
    assert begun == [0, 2, 3]
    full = asyncio.ensure_future(lanes.start(2, lambda: work(0)))
    gates[3].set()
    await full  # there was no room until partition 1 was done
    gates[0].set()
    await starts[1].wait()
    lanes.cancel()


async def test_after_a_failure_no_later_batch_overtakes():
    lanes, begun = Lanes(), []

    async def fails():
        raise ZeroDivisionError

    async def work():
        begun.append(1)

    await lanes.start(0, fails)
    await lanes.start(0, work)
    for _ in range(5):
        await asyncio.sleep(0)
    with pytest.raises(ZeroDivisionError):
        await lanes.start(0, work)
    assert begun == []


class Patient:
    def progress(self):
        pass


@pytest.fixture
def join(app):
    h, i = app.outbox("civil-registry.household-changed.v1"), app.outbox("tax.income-assessed.v1")

    @app.join(
        h,
        i,
        flow="meal-tariff.schools",
        fields={
            "tariff_band": derived(
                lambda a, d, _: "ABCDEFG"[(a + d) % 7], h.adults, h.dependants, i.reference_income_cents
            )
        },
    )
    def tariff(_h, _i):
        return True

    bus = Bus(app, seed=1, partitions=1)
    for n in range(6):
        bus.publish(h, "anna", changed_on=1, adults=n, dependants=0, lone_parent=False)
        bus.publish(i, "anna", income_year=1, reference_income_cents=1, parts_hundredths=1, assessed_on=1)
    bus.run()
    return app.rules["test.tariff"], bus.topics["agents.test.tariff.log", 0]


def folder(join, log, state, sent, fails=()):
    failures = iter(fails)

    async def send(outs):
        if next(failures, False):
            raise KafkaConnectionError
        sent.extend(out.headers[-1][1].decode() for out in outs)

    async def read_log(_topic, _partition, first, end):
        yield log[first:end], end

    return Folder("agents.test", join, state, read_log, send)


def batch(log, first, end):
    return Batch(log[0].topic, 0, log[first:end])


async def test_a_batch_that_could_not_be_sent_is_stepped_through_again_from_the_same_state(join):
    rule, log = join
    calm, faulty = [], []
    await folder(rule, log, lambda *_: Memory(), calm).process(batch(log, 0, len(log)), Patient())
    tried = folder(rule, log, lambda *_: Memory(), faulty, fails=[True])
    with pytest.raises(KafkaConnectionError):
        await tried.process(batch(log, 0, len(log)), Patient())
    await tried.process(batch(log, 0, len(log)), Patient())
    assert faulty == calm != []


async def test_a_worker_that_takes_over_folds_what_it_missed_and_repeats_nothing(join):
    rule, log = join
    whole, parts = [], []
    await folder(rule, log, lambda *_: Memory(), whole).process(batch(log, 0, len(log)), Patient())
    for first in range(0, len(log), 3):
        await folder(rule, log, lambda *_: Memory(), parts).process(batch(log, first, first + 3), Patient())
    assert parts == whole


async def test_what_was_already_stepped_through_is_not_sent_again(join):
    rule, log = join
    sent = []
    worker = folder(rule, log, lambda *_: Memory(), sent)
    await worker.process(batch(log, 0, len(log)), Patient())
    before = list(sent)
    await worker.process(batch(log, 2, len(log)), Patient())
    assert sent == before


async def test_a_checkpoint_that_cannot_be_written_is_given_up_for_memory(join):
    rule, log = join
    whole, sent = [], []
    await folder(rule, log, lambda *_: Memory(), whole).process(batch(log, 0, len(log)), Patient())

    class Locked(Memory):
        def commit(self, *_):
            raise sqlite3.OperationalError("database is locked")

    worker = folder(rule, log, lambda *_: Locked(), sent)
    with pytest.raises(BrokerFault):
        await worker.process(batch(log, 0, len(log)), Patient())
    await worker.process(batch(log, 0, len(log)), Patient())
    assert sent == whole + whole
