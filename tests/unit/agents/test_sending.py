"""What the gate's marks need of whoever sends (services/passerelle/agents/DECISIONS.md, 1).

A seeded world of senders: each starts somewhere at or below what was acknowledged, repeats a batch until it succeeds,
may be a zombie, and is told the truth, nothing, or a lie about each send. The marks then let each proposal through
once.
"""

import asyncio
import random
from collections import defaultdict

import pytest
from aiokafka.errors import KafkaError, RequestTimedOutError
from hypothesis import given, settings
from hypothesis import strategies as st

from passerelle.agents.proposing import Out
from passerelle.agents.sending import RecordTooLarge, Sender
from passerelle.envelope import Event, proposal_headers
from passerelle.testkit.bus import unmarked
from passerelle_consent.wire import Origin
from passerelle_schemas.topics import partition_of

PARTITIONS = 3
RECORDS = 24
ROOM = 2  # records in one produce batch
EVENT = Event(id="1", source="/department/tax", type="tax.income-assessed.v1", time="2026-01-01T00:00:00Z")


class Batch:
    def __init__(self):
        self.records = []

    def append(self, *, key, value, headers, **_):
        if len(self.records) == ROOM or len(value) > 100:
            return None
        self.records.append(Out("exchange", key, value, headers))
        return len(self.records)

    def close(self):
        pass

    def record_count(self):
        return len(self.records)


class Broker:
    """Three partitions of `exchange`, and requests that are still on their way."""

    def __init__(self, rng, faulty):
        self.rng = rng
        self.faulty = faulty
        self.logs = defaultdict(list)
        self.under_way = []
        self.down = False

    def produce(self, partition, records):
        """Answer a request: taken, lost, taken without an answer, or late."""
        fate = self.rng.choices(["taken", "lost", "silent", "late"], [1, *[self.faulty] * 3])[0]
        if self.under_way and self.rng.random() < 0.3:
            self.arrive(self.rng.randrange(len(self.under_way)))
        if fate in ("taken", "silent"):
            self.logs[partition] += records
        elif fate == "late":
            self.under_way.append((partition, records))
        if fate != "taken":
            raise RequestTimedOutError

    def arrive(self, which):
        partition, records = self.under_way.pop(which)
        self.logs[partition] += records


class Producer:
    def __init__(self, broker):
        self.broker = broker

    def create_batch(self):
        return Batch()

    async def partitions_for(self, _topic):
        return set(range(PARTITIONS))

    async def send_batch(self, batch, _topic, *, partition):
        return asyncio.ensure_future(self.sent(batch.records, partition))

    async def sent(self, records, partition):
        for _ in range(self.broker.rng.randrange(4)):
            await asyncio.sleep(0)
        self.broker.produce(partition, records)


class Hasty(Sender):
    """Wrong on purpose: does not wait for a batch before the next one of the same partition."""

    async def _lane(self, at, outs):
        sent = [await self._producer.send_batch(b, at[0], partition=at[1]) for b in self._batches(outs)]
        for result in await asyncio.gather(*sent, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result


def proposal(offset, key):
    origin = Origin(rule="test.rule", topic="outbox.tax.income-assessed", partition=0, offset=offset)
    return Out("exchange", key, b"%d" % offset, proposal_headers(EVENT, flow="f", origin=origin))


class World:
    """One outbox partition, and the senders that work on it over time."""

    def __init__(self, seed, kind, faulty):
        self.rng = random.Random(seed)
        self.broker = Broker(self.rng, faulty)
        self.kind = kind
        self.outs = [proposal(i, self.rng.randbytes(16)) for i in range(RECORDS)]
        self.acknowledged = 0

    async def run(self):
        """An owner, some zombies beside it that die at any moment, and at last an owner that finishes."""
        for _ in range(self.rng.randrange(1, 4)):
            senders = [asyncio.ensure_future(self.sender()) for _ in range(self.rng.randrange(1, 4))]
            for _ in range(self.rng.randrange(60)):
                await asyncio.sleep(0)
            for task in senders:
                task.cancel()
            await asyncio.wait(senders)
        await self.sender()
        while self.broker.under_way:
            self.broker.arrive(0)

    async def sender(self):
        """A process: from a committed offset, which is at or below what was acknowledged, to the end."""
        sender = self.kind(Producer(self.broker), lambda: 0)
        at = self.rng.randrange(self.acknowledged + 1)
        while at < RECORDS:
            size = self.rng.randrange(1, 9)
            await self.until_sent(sender, self.outs[at : at + size])
            at = min(at + size, RECORDS)
            self.acknowledged = max(self.acknowledged, at)

    async def until_sent(self, sender, outs):
        for _ in range(1_000):
            try:
                return await sender.send(outs)
            except KafkaError:
                await asyncio.sleep(0)
        raise AssertionError("never sent")

    def let_through(self):
        """What passes the gate's marks, by partition."""
        return {p: [int(r.value) for r in unmarked(self.broker.logs[p])] for p in range(PARTITIONS)}

    def wanted(self):
        by_partition = {p: [] for p in range(PARTITIONS)}
        for i, out in enumerate(self.outs):
            by_partition[partition_of(out.key, PARTITIONS)].append(i)
        return by_partition


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), faulty=st.sampled_from([0.02, 0.1, 0.3]))
def test_whatever_fails_the_marks_lose_nothing_and_double_nothing(seed, faulty):
    world = World(seed, Sender, faulty)
    asyncio.run(world.run())
    assert world.let_through() == world.wanted()


def test_that_property_finds_a_sender_that_does_not_wait():
    def holds(seed):
        world = World(seed, Hasty, 0.3)
        asyncio.run(world.run())
        return world.let_through() == world.wanted()

    assert not all(holds(seed) for seed in range(50))


async def test_a_partition_stops_at_its_first_failure_and_the_others_go_on():
    world = World(1, Sender, 0)
    sent = []

    class Recording(Producer):
        async def sent(self, records, partition):
            sent.append((partition, [int(r.value) for r in records]))
            if partition == 0:
                raise RequestTimedOutError

    with pytest.raises(RequestTimedOutError):
        await Sender(Recording(world.broker), lambda: 0).send(world.outs)
    wanted = world.wanted()
    assert [r for p, r in sent if p == 0] == [wanted[0][:ROOM]]
    for p in (1, 2):
        assert [i for q, r in sent for i in r if q == p] == wanted[p]


async def test_a_record_that_fits_no_batch_is_refused():
    world = World(1, Sender, 0)
    with pytest.raises(RecordTooLarge):
        await Sender(Producer(world.broker), lambda: 0).send([Out("exchange", b"k", b"x" * 101, [])])
    with pytest.raises(RecordTooLarge):
        await Sender(Producer(world.broker), lambda: 0).send(
            [world.outs[0], Out("exchange", world.outs[0].key, b"x" * 101, [])]
        )


async def test_dead_letters_go_to_partition_0():
    world = World(1, Sender, 0)
    await Sender(Producer(world.broker), lambda: 0).send([Out("deadletter.agents.test", None, b"{}", [])])
    assert [len(log) for p, log in world.broker.logs.items()] == [1]
    assert list(world.broker.logs) == [0]
