"""The integrator as a process on a real broker: transactions and their markers, kill -9, two integrators, SIGTERM."""

import json
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from itertools import count

import pytest
from confluent_kafka import Consumer, Producer

from passerelle.city.node import free_port
from passerelle_consent.ledger.audit.findings import Outcome
from passerelle_consent.ledger.audit.folder import LogFolder
from passerelle_consent.ledger.audit.verify import verify
from passerelle_consent.ledger.faults import Unclear
from passerelle_consent.ledger.integrator.feed import Feed, FeedFault, consumer_settings
from passerelle_consent.ledger.log.checkpoint import Checkpoint
from passerelle_consent.ledger.log.note import Note, Verifier
from passerelle_consent.ledger.log.trust import Policy
from passerelle_consent.policy.decide import Reason, Verdict
from passerelle_consent.wire import (
    DecisionBatch,
    DecisionRecord,
    FlowUse,
    JournalEntry,
    JournalType,
    Origin,
    decision_id,
    encode_decisions,
    encode_journal,
)
from passerelle_schemas.topics import DECISIONS, JOURNAL, partition_of

pytestmark = pytest.mark.broker
SECONDS_MAX = 60
FLOW = FlowUse(flow="meal-tariff.schools", recipient="schools", purpose="dpv:PublicBenefit", agreements=("band@1",))
OFFSETS = count(1)
"""Of outbox records: every test's decisions are others, since they share a log."""


class Gate:
    """Writes decisions as the gate does: one transaction at a time for each partition."""

    def __init__(self, city):
        self.partitions = city.manifest.partitions
        self.rng = random.Random(11)
        self.producers = []
        for partition in range(self.partitions):
            settings = {"transactional.id": f"gate-{partition}", "log_level": 0}
            producer = Producer({**city.access("gate").confluent(), **settings})
            producer.init_transactions(SECONDS_MAX)
            self.producers.append(producer)

    def decide(self, partition, count, *, commit=True):
        producer = self.producers[partition]
        producer.begin_transaction()
        records = tuple(self._decision() for _ in range(count))
        for value in encode_decisions(DecisionBatch(policy=bytes(32), flows=(FLOW,), decisions=records)):
            producer.produce(DECISIONS, value, partition=partition)
        if commit:
            producer.commit_transaction(SECONDS_MAX)
        else:
            producer.flush(SECONDS_MAX)
            producer.abort_transaction(SECONDS_MAX)

    def _decision(self):
        offset = next(OFFSETS)
        origin = Origin(rule="tariff", topic="outbox.tax.income-assessed", partition=0, offset=offset)
        return DecisionRecord(
            id=decision_id(origin),
            at_ms=1_760_000_000_000 + offset,
            verdict=Verdict.PERMIT,
            reason=Reason.VALID_BASIS,
            flow=0,
            subject=bytes([self.rng.randrange(50)]) * 16,
            origin=origin,
        )


class Consent:
    """Writes the journal as the consent service's relay does."""

    def __init__(self, city):
        self.partitions = city.manifest.partitions
        self.producer = Producer({**city.access("consent").confluent(), "acks": "all", "log_level": 0})
        self.rng = random.Random(12)

    def note(self, kind, subject, **kwargs):
        entry = JournalEntry(
            id=self.rng.randbytes(16), type=JournalType(kind), at_ms=1_760_000_000_000, subject=subject, **kwargs
        )
        self.producer.produce(JOURNAL, encode_journal(entry), subject, partition=partition_of(subject, self.partitions))
        assert self.producer.flush(SECONDS_MAX) == 0
        return entry


class Integrator:
    """`passerelle ledger integrate`, and the lines that it logs."""

    def __init__(self, city):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "passerelle.cli", "ledger", "integrate"],
            env={**os.environ, **city.env()},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.put(json.loads(line) if line.startswith("{") else {"event": line})
        self.lines.put({"event": "ended"})

    def await_line(self, wanted):
        while True:
            line = self.lines.get(timeout=SECONDS_MAX)
            if wanted(line):
                return line
            assert line["event"] != "ended", "the integrator ended"

    def await_size(self, size):
        self.await_line(lambda line: line.get("size", 0) >= size)

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.process.wait(SECONDS_MAX)
        self.reader.join(SECONDS_MAX)
        self.process.stderr.close()
        return self.process.returncode


@pytest.fixture
def integrators(city):
    started = []

    def start(*, ready=True):
        integrator = Integrator(city)
        started.append(integrator)
        if ready:
            integrator.await_line(lambda line: line["event"] == "ready")
        return integrator

    yield start
    for integrator in started:
        if integrator.process.poll() is None:
            integrator.end(signal.SIGKILL)


def verified(city):
    folder = city.home.ledger
    result = verify(LogFolder(folder), Verifier.parse(folder.with_name("ledger.vkey").read_text().strip()))
    assert result.outcome is Outcome.VALID, result.findings
    return result


def test_the_integrator_from_first_start_to_last_signal(city, integrators):
    gate, consent = Gate(city), Consent(city)
    first = integrators()
    assert verified(city).size == 0

    # Committed and aborted transactions: the ends of the partitions lie behind markers.
    for round_ in range(5):
        for partition in range(gate.partitions):
            gate.decide(partition, 20)
            gate.decide(partition, 3, commit=False)
        consent.note("given", bytes([round_]) * 16, agreements=("band@1",))
    withdrawn = consent.note("withdrawn", bytes(16), agreements=("band@1",))
    consent.note("fenced", bytes(16), agreements=("band@1",), regarding=withdrawn.id)
    size = 5 * gate.partitions * 20 + 5 + 2
    first.await_size(size)
    result = verified(city)
    assert result.size == size
    assert result.entries == {"decision": size - 7, "given": 5, "withdrawn": 1, "fenced": 1}

    # A second waits while the first leads, and follows it when it is killed in the middle of its work.
    second = integrators(ready=False)
    for partition in range(gate.partitions):
        gate.decide(partition, 50)
    first.await_size(size + 1)
    for partition in range(gate.partitions):
        gate.decide(partition, 500)
    assert first.end(signal.SIGKILL) == -signal.SIGKILL
    size += gate.partitions * 550
    second.await_line(lambda line: line["event"] == "ready")
    for partition in range(gate.partitions):
        gate.decide(partition, 1)
    size += gate.partitions
    second.await_size(size)
    assert verified(city).size == size

    # SIGTERM publishes what is integrated and gives the lead back at once.
    assert second.end() == 0
    assert verified(city).size == size
    gate.decide(0, 7)
    third = integrators()
    third.await_size(size + 7)
    assert third.end() == 0
    assert verified(city).size == size + 7


@pytest.fixture
def witness(city, integrators, tmp_path):
    """`passerelle ledger witness` of this city's log, named in its home's policy."""
    integrators().end()
    port = free_port()
    arguments = ["--name", "witness.example/w1", "--state", tmp_path / "w1", "--port", str(port)]
    command = [sys.executable, "-m", "passerelle.cli", "ledger", "witness", *arguments]
    vkey = city.home.ledger.with_name("ledger.vkey")
    process = subprocess.Popen([*command, "--log", vkey], stdout=subprocess.PIPE, text=True)
    key = process.stdout.readline().strip()
    city.home.witnesses.write_text(f"witness w1 {key} http://127.0.0.1:{port}/\nquorum w1\n")
    yield process
    city.home.witnesses.unlink()
    process.kill()
    process.wait()
    process.stdout.close()


def test_checkpoints_are_cosigned_and_the_log_waits_for_no_witness(city, integrators, witness):
    gate, policy = Gate(city), Policy.parse(city.home.witnesses.read_bytes())
    size = verified(city).size
    integrator = integrators()
    gate.decide(0, 10)
    integrator.await_size(size + 10)
    deadline = time.monotonic() + SECONDS_MAX
    while cosigned_size(city, policy) != size + 10:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    witness.kill()
    for number in range(1, 4):
        gate.decide(0, 10)
        integrator.await_size(size + 10 + 10 * number)
    assert integrator.end() == 0
    assert verified(city).size == size + 40
    assert cosigned_size(city, policy) is None


def cosigned_size(city, policy):
    """Size of the published checkpoint when the policy's witnesses have cosigned it."""
    note = Note.parse((city.home.ledger / "checkpoint").read_bytes())
    try:
        policy.check(note)
    except Unclear:
        return None
    return Checkpoint.parse(note.text).size


def test_a_department_has_no_way_to_the_ledgers_topics(city):
    """The integrator reads with its own credentials; nobody else's open `decisions` (P1)."""
    consumer = Consumer(consumer_settings(city.access("schools").confluent()))
    try:
        with pytest.raises(FeedFault):
            Feed(consumer, DECISIONS).start({})
    finally:
        consumer.close()
