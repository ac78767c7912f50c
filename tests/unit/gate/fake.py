# ruff: noqa: ARG002 - a fake has the signatures of what it stands for
"""A Kafka of one process for the gate's shells: it keeps a journal of the calls, in their order.

It has no transactions and no groups of its own: what depends on the broker is tested on a broker (tests/integration).
"""

from confluent_kafka import KafkaError, KafkaException, TopicPartition

EOF = KafkaError(KafkaError._PARTITION_EOF)


def failing(code, **flags):
    return KafkaException(KafkaError(code, **flags))


class FakeMessage:
    """Topic, partition, offset, key, value, headers; or an error."""

    def __init__(self, *said, error=None):
        self._said = (*said, *[None] * (6 - len(said)), error)

    topic = property(lambda self: lambda: self._said[0])
    partition = property(lambda self: lambda: self._said[1])
    offset = property(lambda self: lambda: self._said[2])
    key = property(lambda self: lambda: self._said[3])
    value = property(lambda self: lambda: self._said[4])
    headers = property(lambda self: lambda: self._said[5])
    error = property(lambda self: lambda: self._said[6])


class FakeProducer:
    """Writes what it commits to ``broker.logs`` and ``broker.offsets``; ``broker.faults`` says which call fails."""

    def __init__(self, broker, partition):
        self.broker, self.partition = broker, partition
        self.open, self.offsets, self.closed = [], [], False

    def _call(self, name, *about):
        self.broker.journal.append((name, self.partition, *about))
        faults = self.broker.faults.get((name, self.partition), [])
        if faults:
            raise faults.pop(0)

    def init_transactions(self, timeout):
        self._call("init")

    def begin_transaction(self):
        self._call("begin")
        self.open, self.offsets = [], []

    def produce(self, topic, value, key, partition, *, headers=None):
        self._call("produce", topic, partition)
        self.open.append((topic, partition, key, value, headers))

    def send_offsets_to_transaction(self, offsets, group, timeout):
        self._call("send-offsets", group)
        self.offsets = offsets

    def commit_transaction(self, timeout):
        self._call("commit")
        for topic, partition, key, value, headers in self.open:
            self.broker.write(topic, partition, key, value, headers)
        for place in self.offsets:
            self.broker.offsets[place.topic, place.partition] = place.offset

    def abort_transaction(self, timeout):
        self._call("abort")

    def poll(self, timeout):
        self._call("poll")

    def close(self):
        self.closed = True
        return True


class FakeConsumer:
    """Delivers from the positions it was assigned or sought to; subscribing is answered by ``broker.assign``."""

    def __init__(self, broker, part):
        self.broker, self.part = broker, part
        self.positions, self.paused, self.callbacks, self.closed = {}, set(), {}, False

    def subscribe(self, topics, **callbacks):
        self.callbacks = callbacks

    def assign(self, places):
        self.positions = {(p.topic, p.partition): max(0, p.offset) for p in places}
        self.paused = set()
        self.ended = set()

    def unassign(self):
        self.positions = {}

    def pause(self, places):
        self.paused |= {(p.topic, p.partition) for p in places}

    def resume(self, places):
        self.paused -= {(p.topic, p.partition) for p in places}

    def seek(self, place):
        self.broker.journal.append(("seek", place.partition, place.offset))
        self.positions[place.topic, place.partition] = place.offset

    def consume(self, most, timeout):
        if self.part == "exchange" and self.broker.rebalances:
            callback, places = self.broker.rebalances.pop(0)
            self.callbacks[callback](self, [TopicPartition("exchange", p) for p in places])
        found = [m for place in list(self.positions) if place not in self.paused for m in self._from(place)]
        return found[:most]

    def poll(self, timeout):
        found = self.consume(1, timeout)
        return found[0] if found else None

    def _from(self, place):
        log = self.broker.logs.get(place, [])
        found = [m for m in log if m.offset() >= self.positions[place]]
        skipped = self.broker.skips.get(place, []) if self.part == "exchange" else []
        if skipped and found:
            missing = skipped.pop(0)
            found = [m for m in found if m.offset() not in missing]
        self.positions[place] = log[-1].offset() + 1 if log else self.positions[place]
        if self.part == "load" and place not in self.ended:
            self.ended.add(place)
            found.append(FakeMessage(*place, self.positions[place], error=EOF))
        return found

    def committed(self, places, timeout):
        self.broker.journal.append(("committed", self.part, sorted({p.partition for p in places})))
        return [
            TopicPartition(p.topic, p.partition, self.broker.offsets.get((p.topic, p.partition), -1001)) for p in places
        ]

    def get_watermark_offsets(self, place, timeout):
        self.broker.journal.append(("ends", place.topic, place.partition))
        log = self.broker.logs.get((place.topic, place.partition), [])
        return (log[0].offset(), log[-1].offset() + 1) if log else (0, 0)

    def consumer_group_metadata(self):
        return f"generation-{self.broker.generation}"

    def memberid(self):
        return self.broker.member

    def list_topics(self, topic, timeout):
        if self.broker.unreachable:
            raise failing(KafkaError._TRANSPORT)

    def close(self):
        self.closed = True


class FakeBroker:
    """Also the gate's `Clients`."""

    def __init__(self):
        self.journal, self.logs, self.offsets = [], {}, {}
        self.faults, self.skips, self.rebalances = {}, {}, []
        self.generation, self.member, self.unreachable = 1, "member-1", False
        self.producers = []

    def write(self, topic, partition, key, value, headers=None, *, offset=None):
        log = self.logs.setdefault((topic, partition), [])
        at = offset if offset is not None else log[-1].offset() + 1 if log else 0
        log.append(FakeMessage(topic, partition, at, key, value, headers))

    def values(self, topic, partition):
        return [m.value() for m in self.logs.get((topic, partition), [])]

    def fail(self, call, partition, *errors):
        self.faults[call, partition] = list(errors)

    def calls(self, *names):
        return [entry for entry in self.journal if entry[0] in names]

    def consumer(self, on_error):
        self.on_error = on_error
        return FakeConsumer(self, "exchange")

    def feed(self):
        return FakeConsumer(self, "consent")

    def loader(self):
        return FakeConsumer(self, "load")

    def probe(self):
        return FakeConsumer(self, "probe")

    def producer(self, partition):
        self.producers.append(FakeProducer(self, partition))
        return self.producers[-1]
