"""A city on a real broker for a bench, worker processes of one way each, and what they have put on the exchange."""

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from carried.naive import PARTITIONS, Naive, topics_of

PROJECT = Path(__file__).parents[3]
PEOPLE_SEED = 5
START_S = 90


def run_worker(way, name, declare):
    """One process, one way: `sdk`, `nowait` (a naive agent that does not wait for acknowledgements) or `await`."""
    import faust

    from passerelle.config import settings
    from passerelle.telemetry import configure

    configure(name)
    declared = declared_as(name, declare, settings().access("admin"))
    app = declared.app if way == "sdk" else Naive(declared, waits=way == "await").app
    app.finalize()
    worker = faust.Worker(app, override_logging=False, quiet=True)
    worker.spinner = None
    worker.execute_from_commandline()


def declared_as(name, declare, access):
    """Some rules of Lutèce in an app of that name."""
    from lutece import agents as lutece
    from passerelle.agents import AgentApp

    app = AgentApp(
        name,
        catalogue=lutece.city.catalogue,
        flows=lutece.city._flows.values(),
        keyring=lutece.city._keyring,
        access=lambda: access,
        folder=lambda: folder_of(name),
    )
    declare(app, lutece)
    return app


def folder_of(name):
    return Path(os.environ["PASSERELLE_HOME"]) / "bench" / name


@contextmanager
def city_on_a_broker():
    """Yields (city, environment for workers)."""
    from passerelle.city.apply import City
    from passerelle.city.broker import TEST_SETTINGS, Broker
    from passerelle.city.manifest import Manifest
    from passerelle.config import Home

    manifest = Manifest.load(PROJECT / "deploy/city.yaml")
    with tempfile.TemporaryDirectory() as folder:
        home = Home(root=Path(folder))
        broker = Broker.up(home, PROJECT / "deploy/kafka", heap_mb=768, extra=TEST_SETTINGS)
        os.environ |= {"PASSERELLE_HOME": folder, "PASSERELLE_MANIFEST": str(manifest.path)}
        try:
            city = City(manifest=manifest, home=home, admin=broker.access("admin"))
            city.apply()
            yield city
        finally:
            broker.down()


def create_topics(access, declared):
    from confluent_kafka.admin import AdminClient, NewTopic

    logged = {"message.timestamp.type": "LogAppendTime"}
    topics = [NewTopic(name, count, 1, config=logged) for name, count in topics_of(declared).items()]
    admin = AdminClient(access.confluent())
    for future in admin.create_topics(topics).values():
        future.result(30)


class Outbox:
    """Fills outboxes and logs."""

    def __init__(self, city):
        from confluent_kafka import Producer

        from passerelle_schemas.catalogue import Catalogue

        self._producer = Producer({**city.admin.confluent(), "acks": "all", "linger.ms": 5})
        self._keyring = city.manifest.keyring(city.home)
        self._catalogue = Catalogue.load(city.manifest.contracts)
        self._count = 0

    def event(self, type_, subject, **values):
        from passerelle.envelope import Event, event_headers, source_of

        contract = self._catalogue.by_type(type_)
        self._count += 1
        event = Event(
            id=str(self._count), source=source_of(contract.department), type=type_, time="2026-01-01T00:00:00.000Z"
        )
        value = contract.encode({**contract.decode(contract.encode(contract.example)), **values})
        key = self._keyring.pseudonym(contract.department, subject)
        self.put(f"outbox.{type_.rpartition('.')[0]}", key, value, event_headers(event))

    def put(self, topic, key, value, headers=()):
        from passerelle_schemas.topics import partition_of

        while True:
            try:
                return self._producer.produce(
                    topic, value, key=key, partition=partition_of(key, PARTITIONS), headers=list(headers)
                )
            except BufferError:
                self._producer.poll(0.1)

    def flush(self):
        self._producer.flush(60)


def people(count):
    rng = random.Random(PEOPLE_SEED)
    return [rng.randbytes(16) for _ in range(count)]


class Ends:
    """Where topics end."""

    def __init__(self, access):
        from confluent_kafka import Consumer

        self._access = access
        self._consumer = Consumer({**access.confluent(), "group.id": "bench"})

    def of(self, topic):
        from confluent_kafka import TopicPartition

        return [
            self._consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=30)[1] for p in range(PARTITIONS)
        ]

    def exchange(self):
        """How many proposals there are."""
        return sum(self.of("exchange"))

    def begin_at(self, group, offsets):
        """Let a group begin there: topic → offset of each partition."""
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer({**self._access.confluent(), "group.id": group})
        at = [TopicPartition(topic, p, offset) for topic, ends in offsets.items() for p, offset in enumerate(ends)]
        consumer.commit(offsets=at, asynchronous=False)
        consumer.close()

    def close(self):
        self._consumer.close()


@contextmanager
def ends_of(access):
    ends = Ends(access)
    try:
        yield ends
    finally:
        ends.close()


def cpu_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def worker_of(script, way, name):
    """One worker process; its log is shown if it does not work."""
    with tempfile.TemporaryFile() as log:
        worker = subprocess.Popen([sys.executable, script, "work", way, name], stdout=log, stderr=log)
        try:
            yield worker
        except RuntimeError:
            log.seek(0)
            sys.stderr.write(log.read().decode()[-2000:])
            raise
        finally:
            end(worker)


def end(worker):
    """SIGTERM, so that it leaves its group at once."""
    worker.terminate()
    try:
        worker.wait(20)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()


def wait_for(worker, ends, base, wanted, cap_s):
    """From the first proposal to the last of those wanted, or for ``cap_s``: (count, seconds, CPU-seconds)."""
    began, first = time.monotonic(), None
    while True:
        done, now = ends.exchange() - base, time.monotonic()
        if worker.poll() is not None or (not done and now - began > START_S):
            raise RuntimeError("the worker did not work")
        if done and first is None:
            first = (done, now, cpu_s(worker.pid))
        if first and (done >= wanted or now - first[1] > cap_s):
            return done - first[0], now - first[1], max(cpu_s(worker.pid) - first[2], 0.01)
        time.sleep(0.02)


def table_of(found, peer):
    """Print what each way came to; returns (way → events/s, ratios of `sdk` to its peer, round by round)."""
    rate = {way: statistics.median(r for r, _ in runs) for way, runs in found.items()}
    print(f"{'way':8} {'events/s':>10} {'runs':>28} {'per CPU-second':>16} {f'x {peer}':>9}")
    for way, runs in found.items():
        each = " ".join(f"{r:,.0f}" for r, _ in runs)
        per_cpu = statistics.median(c for _, c in runs)
        print(f"{way:8} {rate[way]:>10,.0f} {each:>28} {per_cpu:>16,.0f} {rate[way] / rate[peer]:>9.2f}")
    return rate, [ours[0] / theirs[0] for ours, theirs in zip(found["sdk"], found[peer], strict=True)]


def conclude(bench, against, rate, ratios, bar, **more):
    """Print the last line of a bench (DESIGN §11); returns its exit code."""
    ratio = statistics.median(ratios)
    said = {
        "bench": bench,
        "value": round(rate["sdk"]),
        "unit": "events/s",
        "against": against,
        "ratio": round(ratio, 2),
        "spread": [round(min(ratios), 2), round(max(ratios), 2)],
        "bar": bar,
        "ok": ratio >= bar,
        "awaiting": {"value": round(rate["await"]), "ratio": round(rate["sdk"] / rate["await"], 2)},
    }
    print(json.dumps(said | more))
    return 0 if ratio >= bar else 1
