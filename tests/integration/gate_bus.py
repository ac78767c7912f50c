"""The bus around the gate, played by the test: consent and proposals in, deliveries and decisions out."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from passerelle.envelope import Event, proposal_headers, proposal_id
from passerelle_consent.policy.standing import Stance, Standing, State
from passerelle_consent.wire import (
    POLICY_KEY,
    DeadLetter,
    Erasure,
    Origin,
    decode_decisions,
    decode_fence,
    encode_erasure,
    encode_standing,
)
from passerelle_schemas.topics import CONSENT, DECISIONS, EXCHANGE, FENCE, dead_letter, inbox, outbox, partition_of

SECONDS_MAX = 60
REPORT = "citizen-desk.report-filed.v1"
OUTBOX = outbox("citizen-desk", "report-filed")
FLOW = "street-report.roads"
CONTACT = "street-contact-roads"


def standing(*agreements, state=State.GIVEN):
    now_ms = time.time_ns() // 1_000_000
    stances = {a: Stance(agreement=a, state=state, notice=1, at_ms=now_ms) for a in agreements}
    return Standing(linked=True, stances=stances)


class Bus:
    """One running city as the gate's neighbours see it."""

    def __init__(self, city):
        self.city = city
        self.partitions = city.manifest.partitions
        self.policy = city.manifest.policy_bundle()
        self.report = self.policy.catalogue.by_type(REPORT)
        self._consent = self._producer("consent")
        self._agents = self._producer("agents.lutece")

    def _producer(self, principal):
        return Producer({**self.city.access(principal).confluent(), "acks": "all", "linger.ms": 2, "log_level": 0})

    def publish_policy(self):
        for partition in range(self.partitions):
            self._consent.produce(CONSENT, self.policy.pack(), POLICY_KEY, partition=partition)
        assert self._consent.flush(SECONDS_MAX) == 0

    def stand(self, ref, standing):
        """Write a standing; returns (partition, offset) of its record."""
        places = []
        self._consent.produce(
            CONSENT,
            encode_standing(standing),
            ref,
            partition=partition_of(ref, self.partitions),
            on_delivery=lambda _, message: places.append((message.partition(), message.offset())),
        )
        assert self._consent.flush(SECONDS_MAX) == 0
        return places[0]

    def erase(self, refs, *departments):
        """Write an erasure of each subject; returns their ids."""
        ids = [secrets.token_bytes(16) for _ in refs]
        for ref, ident in zip(refs, ids, strict=True):
            erasure = Erasure(id=ident, revision=9, at_ms=time.time_ns() // 1_000_000, departments=departments)
            partition = partition_of(ref, self.partitions)
            self._consent.produce(CONSENT, encode_erasure(erasure), ref, partition=partition)
        assert self._consent.flush(SECONDS_MAX) == 0
        return [ident.hex() for ident in ids]

    def told(self, department, erasures):
        """How often a department was told of each of these erasures, once it was told of all."""
        wanted = set(erasures)

        def enough(messages):
            return wanted <= {said(m, "ce_id") for m in messages}

        messages = self.read(department, inbox(department), inbox(department), self.partitions, enough)
        return Counter(said(m, "ce_id") for m in messages if said(m, "ce_id") in wanted)

    def subjects(self, count, *agreements):
        """That many linked subjects who gave these agreements. A gate that runs may not know of them yet."""
        refs = [secrets.token_bytes(16) for _ in range(count)]
        for ref in refs:
            self.stand(ref, standing(*agreements))
        return refs

    def known_subjects(self, count, *agreements):
        """The same, when the gate that runs has applied them."""
        refs = [secrets.token_bytes(16) for _ in range(count)]
        for partition, offset in [self.stand(ref, standing(*agreements)) for ref in refs]:
            self.fenced(partition, offset)
        return refs

    def propose(self, ref, origin, *, flow=FLOW, value=None, type_=REPORT):
        event = Event(
            id=proposal_id(origin, flow), source="/department/citizen-desk", type=type_, time="2026-11-23T12:00:00.000Z"
        )
        value = self.report.encode(self.report.example) if value is None else value
        self.raw(ref, value, proposal_headers(event, flow=flow, origin=origin))

    def raw(self, key, value, headers=None):
        partition = partition_of(key or b"", self.partitions)
        self._agents.produce(EXCHANGE, value, key, partition=partition, headers=headers)
        self._agents.poll(0)

    def flush(self):
        assert self._agents.flush(SECONDS_MAX) == 0

    def read(self, principal, group, topic, partitions, enough: Callable[[list], bool]):
        """Read the whole topic, committed records only, until ``enough(messages)``."""
        consumer = Consumer(
            {
                **self.city.access(principal).confluent(),
                "group.id": group,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 50,
                "log_level": 0,
            }
        )
        consumer.list_topics(topic, SECONDS_MAX)  # a topic that the client has not met waits for its next second
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(partitions)])
        found, deadline = [], time.monotonic() + SECONDS_MAX
        try:
            while not enough(found):
                assert time.monotonic() < deadline, f"{topic}: {len(found)} records in {SECONDS_MAX} s are not enough"
                found += [m for m in consumer.consume(1000, 0.1) if m.error() is None]
        finally:
            consumer.close()
        return found

    def decisions(self, origins):
        """All decisions on record about these origins, once each has one: {origin: [decision, …]}."""
        wanted = set(origins)
        by_origin = {}
        unread = 0

        def enough(messages):
            nonlocal unread
            for message in messages[unread:]:
                for decision in decode_decisions(message.value()).decisions:
                    by_origin.setdefault(decision.origin, []).append(decision)
            unread = len(messages)
            return wanted <= by_origin.keys()

        self.read("observer", "observer", DECISIONS, self.partitions, enough)
        return {o: by_origin[o] for o in wanted}

    def fenced(self, partition, offset):
        """Wait until the fence of a partition has passed an offset of consent."""

        def enough(messages):
            return any(m.partition() == partition and decode_fence(m.value()).applied > offset for m in messages)

        self.read("observer", "observer", FENCE, self.partitions, enough)

    def delivered(self, department, decision_ids):
        """The deliveries with these decisions in a department's inbox, read with its own credentials."""
        wanted = {d.hex() for d in decision_ids}

        def enough(messages):
            return wanted <= {said(m, "ce_decisionid") for m in messages}

        messages = self.read(department, inbox(department), inbox(department), self.partitions, enough)
        return [m for m in messages if said(m, "ce_decisionid") in wanted]

    def dead_letters(self, count):
        letters = self.read("observer", "observer", dead_letter("gate"), 1, lambda found: len(found) >= count)
        return [DeadLetter.decode(m.value()) for m in letters]

    @contextmanager
    def worker(self, name, *arguments) -> Iterator["Worker"]:
        """A worker that is ready. Ended in the end, whatever happens."""
        started = Worker(self.city, name, *arguments)
        try:
            started.wait_for("ready")
            yield started
        finally:
            started.end(signal.SIGKILL)


class Worker:
    """A process of `passerelle gate run`."""

    def __init__(self, city, name, *arguments):
        self.log = city.home.root / f"{name}-{secrets.token_hex(4)}.log"
        command = [sys.executable, "-m", "passerelle.cli", "gate", "run", "--worker", name, *arguments]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(command, stderr=out, stdout=out, env={**os.environ, **city.env()})

    def lines(self, event):
        found = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in map(json.loads, found) if line["event"] == event]

    def wait_for(self, event, satisfied=lambda _: True):
        deadline = time.monotonic() + SECONDS_MAX
        while not any(map(satisfied, self.lines(event))):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)  # a log file has no event to wait for

    def end(self, number):
        """Send a signal, wait for the end, return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(SECONDS_MAX)


def said(message, header):
    """What a header says; nothing when it is not there, as the decision's of a notice."""
    return dict(message.headers()).get(header, b"").decode()


def origins(count, *, rule=None):
    rule = rule or f"test-{secrets.token_hex(4)}"
    return [Origin(rule=rule, topic=OUTBOX, partition=0, offset=i) for i in range(count)]
