"""Gate records per second and CPU per record, against a gate on Kafka Streams.

The peer is a processor on Kafka Streams with exactly_once_v2 that does the same kind of work: `kafka-streams/` below
the folder PEERS. The two speak different envelopes, so each gets the same records in its own: the same subjects, the
same street reports, the same mix of verdicts (70 % permit, 20 % redact, 10 % deny), on the same broker and partitions.
They take turns (A B A B …); each turn finds a backlog, and counts from 20 % to 95 % of it, start-up left out.

What this does not even out: ours validates each value whole, and writes packed decisions, marks and a fence; the peer
writes a decision for each record and re-encodes what it redacts. Ours looks a decision up in the policy of a city, the
peer in an array of agreements. A turn of the peer may be so short that the JVM has hardly warmed up.

Set by the environment: PEERS, RECORDS (a turn), ROUNDS, WORKERS (of ours; the peer has as many threads).
"""

import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from passerelle.city.apply import City
from passerelle.city.broker import Broker
from passerelle.city.manifest import Manifest
from passerelle.config import Home
from passerelle.envelope import Event, proposal_headers, proposal_id
from passerelle_consent.policy.standing import Stance, Standing, State
from passerelle_consent.wire import POLICY_KEY, Origin, encode_standing
from passerelle_schemas.topics import partition_of

PROJECT = Path(__file__).parents[2]
PEERS = Path(os.environ.get("PEERS", PROJECT.parent / "shared/notes/peers"))
RECORDS = int(os.environ.get("RECORDS", "100000"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
WORKERS = int(os.environ.get("WORKERS", "2"))
SUBJECTS = 10_000
SEED = 7
TURN_S_MAX = 180
BUILD_S_MAX = 600
FLOW, EVENT, RECIPIENT, CONSENT = "street-report.roads", "citizen-desk.report-filed.v1", "roads", "street-contact-roads"
CONTACT = ("neighbourhood", "reporter_name", "reporter_email", "reporter_phone")
SCRAM_LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule"
TICKS = os.sysconf("SC_CLK_TCK")


# -- the same input, in two envelopes -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Subject:
    ref: bytes
    verdict: str


def subjects():
    rng = random.Random(SEED)
    return [
        Subject(rng.randbytes(16), rng.choices(("permit", "redact", "deny"), (70, 20, 10))[0]) for _ in range(SUBJECTS)
    ]


class Input:
    """Fills the exchanges of both."""

    def __init__(self, broker, manifest, folder):
        self.partitions = manifest.partitions
        self.policy = manifest.policy_bundle()
        self.contract = self.policy.catalogue.by_type(EVENT)
        self.value = self.contract.encode(self.contract.example)
        self.subjects = subjects()
        self.sent = 0
        self.rng = random.Random(SEED)
        self.producer = Producer(
            {**broker.access().confluent(), "linger.ms": 20, "queue.buffering.max.messages": 1_000_000}
        )
        (folder / "policy.json").write_text(json.dumps(self._peer_policy()))

    def _peer_policy(self):
        """Agreement 0: consent, all fields. Agreement 1: public task, without the contact."""
        fields = list(self.contract.fields)
        kept = [f for f in fields if f not in CONTACT]
        return {
            "recipients": [{"name": RECIPIENT, "key": "00" * 32}],
            # Avro alone: the peer's libraries stumble over attributes of ours.
            "schema": {
                "type": "record",
                "name": "Event",
                "fields": [
                    {k: f[k] for k in ("name", "type", "default") if k in f} for f in self.contract.schema["fields"]
                ],
            },
            "agreements": [
                {"id": 0, "recipient": RECIPIENT, "basis": "consent", "fields": fields},
                {"id": 1, "recipient": RECIPIENT, "basis": "public_task", "fields": kept},
            ],
        }

    def send(self, topic, value, key, partition=None, headers=None):
        where = partition_of(key, self.partitions) if partition is None else partition
        while True:
            try:
                self.producer.produce(topic, value, key, where, headers=headers)
            except BufferError:
                self.producer.poll(0.05)
            else:
                return

    def fill_consent(self):
        now_ms = time.time_ns() // 1_000_000
        given = Stance(agreement=CONSENT, state=State.GIVEN, notice=1, at_ms=now_ms)
        for partition in range(self.partitions):
            self.send("consent", self.policy.pack(), POLICY_KEY, partition)
        for subject in self.subjects:
            permitted = subject.verdict == "permit"
            if subject.verdict != "deny":
                standing = Standing(linked=True, stances={CONSENT: given} if permitted else {})
                self.send("consent", encode_standing(standing), subject.ref)
            self.send("peer.consent", int(permitted).to_bytes(8, "big") + bytes(4), subject.ref)
        self.producer.flush()

    def fill(self, records):
        for _ in range(records):
            subject = self.rng.choice(self.subjects)
            origin = Origin(rule="bench", topic="outbox.bench.event", partition=0, offset=self.sent)
            self.sent += 1
            event = Event(
                id=proposal_id(origin, FLOW),
                source="/department/citizen-desk",
                type=EVENT,
                time="2026-11-23T12:00:00.000Z",
            )
            self.send("exchange", self.value, subject.ref, headers=proposal_headers(event, flow=FLOW, origin=origin))
            self.send("peer.exchange", self.value, subject.ref, headers=self._peer_headers(event, subject))
        self.producer.flush()

    def _peer_headers(self, event, subject):
        return [
            ("agreement", b"1" if subject.verdict == "redact" else b"0"),
            ("proposal", bytes.fromhex(event.id)),
            ("ce_id", event.id.encode()),
            ("ce_type", event.type.encode()),
            ("ce_source", event.source.encode()),
        ]


# -- one turn -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """How one of the two is started, and whose offsets tell how far it is."""

    name: str
    group: str
    topic: str
    commands: tuple[tuple[str, ...], ...]
    environ: dict[str, str]
    log: Path


@dataclass(frozen=True)
class Turn:
    rate: float
    gate_us: float
    broker_us: float


def cpu_s(pids):
    """CPU seconds of processes and all their children so far."""
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            continue
        total += (int(fields[11]) + int(fields[12])) / TICKS + cpu_s(map(int, children))
    return total


class Meter:
    """Samples how far a group has come, and what that cost."""

    def __init__(self, broker, partitions):
        self.broker = broker
        self.partitions = partitions
        self.clients = {}

    def done(self, way):
        """The sum of the group's committed offsets, asked by a client that is no member."""
        if way.group not in self.clients:
            self.clients[way.group] = Consumer(
                {**self.broker.access().confluent(), "group.id": way.group, "log_level": 0}
            )
        places = [TopicPartition(way.topic, p) for p in range(self.partitions)]
        try:
            found = self.clients[way.group].committed(places, timeout=10)
        except KafkaException:
            return 0  # the group has no coordinator yet
        return sum(max(0, place.offset) for place in found)

    def turn(self, way, records):
        before = self.done(way)
        samples = []
        with running(way) as pids:
            end = time.monotonic() + TURN_S_MAX
            while not samples or samples[-1][1] < records:
                at = time.monotonic()
                assert at < end, f"{way.name} stands still: {way.log.read_text()[-2000:]}"
                samples.append((at, self.done(way) - before, cpu_s(pids), cpu_s([self.broker.pid])))
                time.sleep(0.05)  # what is measured has no event to wait for
        first = next(s for s in samples if s[1] >= 0.20 * records)
        last = next(s for s in samples if s[1] >= 0.95 * records)
        if first is last:  # all in one commit: count from the sample before
            first = samples[samples.index(last) - 1]
        moved = last[1] - first[1]
        return Turn(*(moved / (last[0] - first[0]), *(1e6 * (last[i] - first[i]) / moved for i in (2, 3))))


@contextmanager
def running(way):
    with way.log.open("ab") as out:
        processes = [
            subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **way.environ})
            for command in way.commands
        ]
    try:
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


# -- the two --------------------------------------------------------------------------------------------------------


def ours(home, manifest):
    return Way(
        name="passerelle",
        group="gate",
        topic="exchange",
        commands=tuple(
            (sys.executable, "-m", "passerelle.cli", "gate", "run", "--worker", f"w{i}") for i in range(WORKERS)
        ),
        environ={"PASSERELLE_HOME": str(home.root), "PASSERELLE_MANIFEST": str(manifest.path)},
        log=home.root / "passerelle.log",
    )


def peer(broker, folder):
    """Build and describe the peer; None, with a line that says why, where that cannot be done."""
    source = PEERS / "kafka-streams"
    if not (source / "pom.xml").is_file():
        print(f"peer skipped: no {source} (PEERS=<folder> says where)")
        return None
    built = folder / "kafka-streams"
    shutil.copytree(source, built)
    build = [shutil.which("mvn") or "mvn", "-q", "-B", "package"]
    try:
        subprocess.run(build, cwd=built, check=True, timeout=BUILD_S_MAX, capture_output=True)
    except (OSError, subprocess.SubprocessError) as exc:
        print(f"peer skipped: mvn package: {type(exc).__name__}")
        return None
    access = broker.access()
    login = f'{SCRAM_LOGIN} required username="{access.username}" password="{access.password}";'
    settings = f"security.protocol=SASL_PLAINTEXT,sasl.mechanism=SCRAM-SHA-512,sasl.jaas.config={login}"
    options = {
        "bootstrap": access.bootstrap_servers,
        "policy": folder / "policy.json",
        "app": "peer",
        "exchange": "peer.exchange",
        "consent": "peer.consent",
        "decisions": "peer.decisions",
        "inbox": "peer.inbox.",
        "threads": WORKERS,
        "store": "hash",  # the faster of its two
        "set": settings,
    }
    arguments = [str(x) for name, value in options.items() for x in (f"--{name}", value)]
    command = ("java", "-Xms512m", "-Xmx512m", "-jar", str(built / "target/gate.jar"), *arguments)
    return Way(
        name="kafka-streams",
        group="peer",
        topic="peer.exchange",
        commands=(command,),
        environ={},
        log=folder / "peer.log",
    )


def make_topics(broker, partitions):
    names = ["peer.exchange", "peer.consent", "peer.decisions", f"peer.inbox.{RECIPIENT}"]
    admin = AdminClient(broker.access().confluent())
    for made in admin.create_topics([NewTopic(name, partitions, 1) for name in names]).values():
        made.result(timeout=30)


def measure(folder):
    home, manifest = Home(root=folder / "home"), Manifest.load(PROJECT / "deploy/city.yaml")
    broker = Broker.up(home, PROJECT / "deploy/kafka")
    try:
        City(manifest=manifest, home=home, admin=broker.access()).apply()
        make_topics(broker, manifest.partitions)
        given = Input(broker, manifest, folder)
        given.fill_consent()
        ways = [way for way in (ours(home, manifest), peer(broker, folder)) if way is not None]
        meter = Meter(broker, manifest.partitions)
        turns = {way.name: [] for way in ways}
        size = len(given.value)
        print(
            f"a turn: {RECORDS} records of {size} bytes; {manifest.partitions} partitions; {WORKERS} workers or threads"
        )
        print(f"{'turn':>5} {'gate':15} {'records/s':>10} {'gate CPU µs':>12} {'broker CPU µs':>14}")
        for number in range(1, ROUNDS + 1):
            given.fill(RECORDS)
            for way in ways:
                turn = meter.turn(way, RECORDS)
                turns[way.name].append(turn)
                print(
                    f"{number:>5} {way.name:15} {turn.rate:>10.0f} {turn.gate_us:>12.1f} {turn.broker_us:>14.1f}",
                    flush=True,
                )
        return turns
    finally:
        broker.down()


def report(turns):
    mine, theirs = turns["passerelle"], turns.get("kafka-streams")
    rates = [turn.rate for turn in mine]
    ratios = [a.rate / b.rate for a, b in zip(mine, theirs, strict=True)] if theirs else []
    cpu = [a.gate_us / b.gate_us for a, b in zip(mine, theirs, strict=True)] if theirs else []
    return {
        "bench": "gate",
        "value": round(statistics.median(rates)),
        "unit": "records/s",
        "against": "kafka-streams" if theirs else None,
        "ratio": round(statistics.median(ratios), 3) if ratios else None,
        "spread": round((max(rates) - min(rates)) / statistics.median(rates), 3),
        "bar": None,
        "ok": True,
        "load_average": round(os.getloadavg()[0], 1),
        "cpu_us": round(statistics.median(turn.gate_us for turn in mine), 1),
        "cpu_ratio": round(statistics.median(cpu), 2) if cpu else None,
    }


def main():
    with tempfile.TemporaryDirectory(prefix="passerelle-bench-") as folder:
        turns = measure(Path(folder))
    print(json.dumps(report(turns)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
