"""Kafka's side of the integrator in memory, with the offsets of transaction markers, and a city's worth of records."""

import random
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError

from passerelle_consent.ledger.database.store import Store
from passerelle_consent.ledger.integrator.feed import Feed
from passerelle_consent.ledger.integrator.integrate import Clock, Integrator
from passerelle_consent.ledger.integrator.publish import FolderPublisher
from passerelle_consent.ledger.log import tree
from passerelle_consent.ledger.log.checkpoint import Checkpoint
from passerelle_consent.ledger.log.commitments import MasterKey
from passerelle_consent.ledger.log.entries import Entry, EntryType
from passerelle_consent.ledger.log.masters import FixedMasters
from passerelle_consent.ledger.log.note import Signer
from passerelle_consent.ledger.log.tiles import RightEdge, bundles, hash_tiles, pack
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
from passerelle_schemas.topics import DECISIONS, JOURNAL

ORIGIN = "lutece.example/passerelle"
SIGNER = Signer.of(ORIGIN, bytes(range(32)))
MASTERS = FixedMasters(MasterKey.of(bytes(range(1, 33))))
POLICY = bytes(range(32))
TARIFF = FlowUse(
    flow="meal-tariff.schools", recipient="schools", purpose="dpv:PublicBenefit", agreements=("band@1", "household@2")
)
PHONE = FlowUse(flow="report-filed.roads", recipient="roads", purpose="dpv:PublicBenefit", agreements=("phone@1",))
START_MS = 1_760_000_000_000
ON_SQLITE = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
"""For a test of what one database alone does."""


@dataclass
class FakeTopic:
    """Partitions of values; None is a transaction's marker, which takes an offset and is no record."""

    name: str
    partitions: list[list[bytes | None]]

    def commit(self, partition: int, *values: bytes) -> None:
        self.partitions[partition] += [*values, None]


@dataclass
class FakeMessage:
    place: int
    at: int
    body: bytes | None = None
    failure: KafkaError | None = None

    def partition(self):
        return self.place

    def offset(self):
        return self.at

    def value(self):
        return self.body

    def error(self):
        return self.failure


@dataclass
class FakeConsumer:
    """Delivers records in order and one end-of-partition event at each end, as librdkafka does."""

    topic: FakeTopic
    at: dict[int, int] = field(default_factory=dict)
    told: dict[int, int] = field(default_factory=dict)
    first: int = 0
    fail_with: list[KafkaError] = field(default_factory=list)

    def list_topics(self, topic, **_):
        partitions = dict.fromkeys(range(len(self.topic.partitions)))
        found = {self.topic.name: SimpleNamespace(error=None, partitions=partitions)}
        return SimpleNamespace(topics={k: v for k, v in found.items() if k == topic})

    def assign(self, partitions):
        self.at = {p.partition: p.offset for p in partitions}
        self.told = {}

    def get_watermark_offsets(self, partition, **_):
        return self.first, len(self.topic.partitions[partition.partition])

    def consume(self, num_messages, _timeout):
        if self.fail_with:
            return [FakeMessage(0, -1, failure=self.fail_with.pop())]
        messages = []
        for partition, log in enumerate(self.topic.partitions):
            while self.at[partition] < len(log) and len(messages) < num_messages:
                offset = self.at[partition]
                self.at[partition] += 1
                if log[offset] is not None:
                    messages.append(FakeMessage(partition, offset, log[offset]))
            if self.at[partition] == len(log) and self.told.get(partition) != len(log):
                self.told[partition] = len(log)
                end = KafkaError(KafkaError._PARTITION_EOF)
                messages.append(FakeMessage(partition, len(log), failure=end))
        return messages


def forge(folder, entries, signer=SIGNER):
    """Publish any entries under a right signature: what a dishonest log could do."""
    edge = RightEdge()
    kept = edge.append([tree.leaf_hash(e) for e in entries])
    for tile in [*bundles(len(entries)), *hash_tiles(len(entries))]:
        path = folder / tile.path
        path.parent.mkdir(parents=True, exist_ok=True)
        mine = entries[tile.start : tile.start + tile.width]
        path.write_bytes(pack(mine) if tile.level is None else kept[tile.level, tile.index])
    head = Checkpoint(origin=signer.name, size=len(entries), root=edge.root())
    (folder / "checkpoint").write_bytes(head.sign(signer))


def entry(number):
    """An entry of its own for each number: the shortest."""
    return Entry(type=EntryType.KEY, time_ms=number, id=number.to_bytes(16, "big")).encode()


class LedgerTown:
    """Topics, a store and a folder; integrators come and go."""

    def __init__(self, tmp_path, *, partitions=2, seed=7, store_url=None):
        self.decisions = FakeTopic(DECISIONS, [[] for _ in range(partitions)])
        self.journal = FakeTopic(JOURNAL, [[] for _ in range(partitions)])
        self.folder = tmp_path / "run" / "ledger"
        self.url = store_url or f"sqlite:///{tmp_path / 'ledger.sqlite'}"
        self.store = Store(self.url)
        self.random = random.Random(seed)
        self.now_ms = START_MS
        self.offset = 0

    def integrator(self, *, holder="one", publisher=None, store=None, masters=None, sealing=None):
        publisher = publisher or FolderPublisher(self.folder, SIGNER.verifier)
        return Integrator(
            store=store or self.store,
            decisions=Feed(FakeConsumer(self.decisions), DECISIONS),
            journal=Feed(FakeConsumer(self.journal), JOURNAL),
            signer=SIGNER,
            masters=masters or MASTERS,
            publisher=publisher,
            random=self.random.randbytes,
            holder=holder,
            sealing=sealing,
            clock=Clock(now_ms=lambda: self.now_ms),
        )

    def started(self, **kwargs):
        integrator = self.integrator(**kwargs)
        assert integrator.start()
        return integrator

    def decide(self, partition=0, count=1, **kwargs):
        """Commit a batch of decisions, as the gate does; return their ids."""
        records = [self.decision(**kwargs) for _ in range(count)]
        self.commit(partition, records)
        return [record.id for record in records]

    def commit(self, partition, records):
        batch = DecisionBatch(policy=POLICY, flows=(TARIFF, PHONE), decisions=tuple(records))
        self.decisions.commit(partition, *encode_decisions(batch))

    def decision(
        self, *, subject=b"A" * 16, verdict=Verdict.PERMIT, reason=Reason.VALID_BASIS, flow=0, withheld=(), origin=None
    ):
        self.offset += 1
        origin = origin or Origin(rule="tariff", topic="outbox.tax.income-assessed", partition=0, offset=self.offset)
        return DecisionRecord(
            id=decision_id(origin),
            at_ms=self.now_ms,
            verdict=verdict,
            reason=reason,
            flow=flow,
            withheld=withheld,
            subject=subject,
            origin=origin,
        )

    def note(self, type_, partition=0, **kwargs):
        """Commit a journal entry, as the consent service's relay does; return it."""
        if type_ in ("given", "refused", "withdrawn", "objected", "fenced"):
            kwargs.setdefault("agreements", ("phone@1",))
        if type_ not in ("policy", "agreement", "key", "read"):
            kwargs.setdefault("subject", b"A" * 16)
        kwargs.setdefault("id", self.random.randbytes(16))
        entry = JournalEntry(type=JournalType(type_), at_ms=self.now_ms, **kwargs)
        self.journal.commit(partition, encode_journal(entry))
        return entry

    def bodies(self):
        with self.store.reading() as db:
            head = db.head()
            return db.bodies(0, head.checkpoint.size)


def stop_after(integrator, steps):
    """An event that is set when the integrator has done so many steps."""
    stop, step = threading.Event(), integrator.step
    left = [steps]

    def counted(**kwargs):
        left[0] -= 1
        if left[0] <= 0:
            stop.set()
        return step(**kwargs)

    integrator.step = counted
    return stop


class _Static(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass


@contextmanager
def served(folder):
    """The address of a plain static web server over a folder."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Static, directory=folder))
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        serving.join()
