"""Route events per second: the agents' SDK against naive Faust agents that do the same work.

The street-report route of Lutèce on a real broker, 4 partitions: envelope, key and Avro are read, the department
chosen, the event re-keyed and sent to the exchange. The same pure code judges in all three; what differs is who
carries it:

- `sdk`: the SDK (batches as events, all outputs acknowledged before the input is; loses nothing);
- `await`: one agent that awaits the acknowledgement of each send before the next event;
- `nowait`: one agent that does not wait for acknowledgements (and so loses events when it dies).

Runs alternate. A run counts from its first output to its last, or for `CAP_S`.
"""

import asyncio
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

EVENTS = int(os.environ.get("EVENTS", "60000"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
CAP_S = 8.0
"""A naive agent would take minutes for all; its pace is steady after a second."""
START_S = 60
WAYS = ("sdk", "nowait", "await")
PEER = "nowait"
PROJECT = Path(__file__).parents[2]
TYPE = "citizen-desk.report-filed.v1"
OUTBOX = "outbox.citizen-desk.report-filed"
OPERATORS = ("Ramen", "graffitis", "DVD", "DPMP-Divisions", "DEVE", "CIELIS", "DASES")


# -- a worker: one process, one way ---------------------------------------------------------------------------------


def work(way: str, name: str) -> None:
    import faust

    from passerelle.agents import AgentApp
    from passerelle.config import settings
    from passerelle.telemetry import configure

    configure(name)
    access = settings().access("admin")
    declared = declare(AgentApp, name, access)
    app = declared.app if way == "sdk" else naive(declared, name, access, waits=way == "await")
    app.finalize()
    worker = faust.Worker(app, override_logging=False, quiet=True)
    worker.spinner = None
    worker.execute_from_commandline()


def declare(kind, name, access):
    """The street-report route alone."""
    from lutece import agents as lutece

    city = kind(
        name,
        catalogue=lutece.city.catalogue,
        flows=lutece.city._flows.values(),
        keyring=lutece.city._keyring,
        access=lambda: access,
        folder=lambda: Path(tempfile.gettempdir()) / f"bench-{os.getpid()}",
    )
    reports = city.outbox(TYPE)
    to = [f"street-report.{d}" for d in lutece.OPERATORS]
    city.route(reports, to=to, reads=[reports.operator])(lutece.street_report)
    return city


def naive(declared, name, access, *, waits):
    """Faust as its first page shows it."""
    import faust

    from passerelle.agents.app import _FAUST
    from passerelle.agents.transport import Boot
    from passerelle_schemas.topics import partition_of

    options = {**_FAUST, **declared._late(), "datadir": str(Path(tempfile.gettempdir()) / name)}
    app = type("Naive", (faust.App,), {"BootStrategy": Boot})(f"agents.{name}", **options)
    raw = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}
    source, exchange = app.topic(OUTBOX, **raw), app.topic("exchange", **raw)
    reader, (rule,) = declared.reader(OUTBOX, declared._keyring()), declared.rules.values()

    @app.agent(source)
    async def route(stream):
        async for event in stream.events():
            (heard,) = reader.read([Message(event.message)])
            for out in rule.apply(heard):
                sent = await exchange.send(
                    key=out.key, value=out.value, headers=out.headers, partition=partition_of(out.key, 4)
                )
                if waits:
                    await sent

    return app


class Message:
    """A Faust message as a record."""

    __slots__ = ("headers", "key", "offset", "partition", "timestamp", "topic", "value")

    def __init__(self, message):
        self.topic, self.partition, self.offset = message.topic, message.partition, message.offset
        self.timestamp = int(message.timestamp * 1000)
        self.key, self.value, self.headers = message.key, message.value, message.headers


# -- the bench ------------------------------------------------------------------------------------------------------


async def fill(access, manifest, home):
    from aiokafka import AIOKafkaProducer

    from passerelle.envelope import Event, event_headers, source_of
    from passerelle_schemas.catalogue import Catalogue

    rng, contract = random.Random(5), Catalogue.load(manifest.contracts).by_type(TYPE)
    keyring, people = manifest.keyring(home), [rng.randbytes(16) for _ in range(20_000)]
    values = [contract.encode({**contract.example, "operator": operator}) for operator in OPERATORS]
    producer = AIOKafkaProducer(**access.aiokafka(), acks="all", linger_ms=5, max_batch_size=1 << 17)
    await producer.start()
    sent = []
    for n in range(EVENTS):
        event = Event(id=str(n), source=source_of("citizen-desk"), type=TYPE, time="2026-01-01T00:00:00.000Z")
        key = keyring.pseudonym("citizen-desk", rng.choice(people))
        sent.append(await producer.send(OUTBOX, rng.choice(values), key=key, headers=event_headers(event)))
    await asyncio.gather(*sent)
    await producer.stop()


class Exchange:
    """How many proposals there are."""

    def __init__(self, access):
        from aiokafka import AIOKafkaConsumer, TopicPartition

        self.consumer = AIOKafkaConsumer(**access.aiokafka(), group_id=None)
        self.partitions = [TopicPartition("exchange", p) for p in range(4)]

    async def count(self):
        return sum((await self.consumer.end_offsets(self.partitions)).values())


def cpu_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def worker_of(way, name, env):
    """One worker process; its log is shown if it does not work."""
    with tempfile.TemporaryFile() as log:
        worker = subprocess.Popen([sys.executable, __file__, "work", way, name], env=env, stdout=log, stderr=log)
        try:
            yield worker
        except RuntimeError:
            log.seek(0)
            sys.stderr.write(log.read().decode()[-2000:])
            raise
        finally:
            worker.kill()
            worker.wait()


async def pace(worker, base, exchange):
    """Returns (events/s, events per CPU-second)."""
    began, first = time.monotonic(), None
    while True:
        done, now = await exchange.count() - base, time.monotonic()
        if worker.poll() is not None or (not done and now - began > START_S):
            raise RuntimeError("the worker did not work")
        if done and first is None:
            first = (done, now, cpu_s(worker.pid))
        if first and (done >= EVENTS or now - first[1] > CAP_S):
            seconds, used = now - first[1], cpu_s(worker.pid) - first[2]
            return (done - first[0]) / seconds, (done - first[0]) / max(used, 0.01)
        await asyncio.sleep(0.02)


async def bench(city, env):
    """Alternate the ways; returns way → [(events/s, events per CPU-second)]."""
    from confluent_kafka.admin import AdminClient, NewTopic

    access = city.admin
    await fill(access, city.manifest, city.home)
    admin, exchange, found = AdminClient(access.confluent()), Exchange(access), {way: [] for way in WAYS}
    await exchange.consumer.start()
    try:
        for n in range(ROUNDS):
            for way in WAYS:
                name = f"bench-{way}-{n}"
                topic = NewTopic(f"deadletter.agents.{name}", 1, 1)
                admin.create_topics([topic])[topic.topic].result(30)
                base = await exchange.count()
                with worker_of(way, name, env) as worker:
                    found[way].append(await pace(worker, base, exchange))
    finally:
        await exchange.consumer.stop()
    return found


def main() -> int:
    from passerelle.city.apply import City
    from passerelle.city.broker import TEST_SETTINGS, Broker
    from passerelle.city.manifest import Manifest
    from passerelle.config import Home

    manifest = Manifest.load(PROJECT / "deploy/city.yaml")
    with tempfile.TemporaryDirectory() as folder:
        home = Home(root=Path(folder))
        broker = Broker.up(home, PROJECT / "deploy/kafka", heap_mb=768, extra=TEST_SETTINGS)
        try:
            city = City(manifest=manifest, home=home, admin=broker.access("admin"))
            city.apply()
            env = {**os.environ, "PASSERELLE_HOME": folder, "PASSERELLE_MANIFEST": str(manifest.path)}
            report(asyncio.run(bench(city, env)))
        finally:
            broker.down()
    return 0


def report(found):
    rate = {way: statistics.median(r for r, _ in runs) for way, runs in found.items()}
    print(f"{'way':8} {'events/s':>10} {'runs':>28} {'per CPU-second':>16} {'x nowait':>9}")
    for way, runs in found.items():
        each = " ".join(f"{r:,.0f}" for r, _ in runs)
        per_cpu = statistics.median(c for _, c in runs)
        print(f"{way:8} {rate[way]:>10,.0f} {each:>28} {per_cpu:>16,.0f} {rate[way] / rate[PEER]:>9.2f}")
    ratios = [ours[0] / theirs[0] for ours, theirs in zip(found["sdk"], found[PEER], strict=True)]
    print(
        json.dumps(
            {
                "bench": "route",
                "value": round(rate["sdk"]),
                "unit": "events/s",
                "against": "a naive Faust agent that does not wait for acknowledgements",
                "ratio": round(statistics.median(ratios), 2),
                "spread": [round(min(ratios), 2), round(max(ratios), 2)],
                "bar": None,
                "ok": True,
                "awaiting": {"value": round(rate["await"]), "ratio": round(rate["sdk"] / rate["await"], 2)},
            }
        )
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        work(*sys.argv[2:])
    else:
        sys.exit(main())
