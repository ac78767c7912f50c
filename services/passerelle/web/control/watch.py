"""Watches the broker from a thread: decisions as they come, ends of topics, lags of groups. Reads, and never writes.

As the principal `control-room`, which may read decisions and dead letters, and describe the rest (`city.desired`).
"""

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from passerelle.city.cluster import api
from passerelle.config import KafkaAccess
from passerelle.web.control.pulse import Kind, Pulse
from passerelle.web.control.seen import Look, Seen
from passerelle_consent.wire import BadRecord, decode_decisions
from passerelle_schemas.topics import DECISIONS

LOOK_S = 2.0
WAIT_S = 5.0
RECORDS_AT_ONCE = 500
AGAIN_S = 5.0
"""After a fault: a broker that is away is asked again so often."""
STALE_S = 15.0
"""What is older than this is not said to be how things are."""

_log = structlog.get_logger("web")


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """What is looked at."""

    topics: Mapping[str, int]
    """Topic → its partitions."""
    groups: Mapping[str, Sequence[str]]
    """Consumer group → topics that it reads."""


@dataclass(kw_only=True)
class Watch:
    """What is seen. `start` begins a thread of its own, `stop` ends it."""

    access: KafkaAccess
    watched: Watched
    pulse: Pulse = field(default_factory=Pulse)
    seen: Seen = field(default_factory=Seen)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """Begin to watch."""
        self._thread = threading.Thread(target=self._run, name="control-room", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it; returns within some seconds."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    @property
    def lock(self) -> threading.Lock:
        """Held while `pulse` and `seen` are written; whoever reads them holds it too."""
        return self._lock

    def is_fresh(self, now: float) -> bool:
        """Whether what is seen is of now."""
        last = self.seen.last
        return last is not None and now - last.at < STALE_S

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._watch()
            except KafkaException as exc:
                _log.warning("broker-away", code=str(exc.args[0].name() if exc.args else ""))
                self._stopped.wait(AGAIN_S)

    def _watch(self) -> None:
        consumer = Consumer(
            {
                **self.access.confluent(),
                "group.id": "unused",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "log_level": 0,
            }
        )
        admin = AdminClient({**self.access.confluent(), "log_level": 0})
        try:
            parts = [TopicPartition(DECISIONS, i) for i in range(self.watched.topics[DECISIONS])]
            ends = [consumer.get_watermark_offsets(part, WAIT_S)[1] for part in parts]
            consumer.assign(
                [TopicPartition(DECISIONS, part.partition, end) for part, end in zip(parts, ends, strict=True)]
            )
            next_look = 0.0
            while not self._stopped.is_set():
                self._take(consumer)
                if time.monotonic() >= next_look:
                    next_look = time.monotonic() + LOOK_S
                    look = self._look(admin)
                    with self._lock:
                        self.seen.add(look)
        finally:
            consumer.close()

    def _take(self, consumer: Consumer) -> None:
        found: dict[int, Counter[Kind]] = {}
        for message in consumer.consume(RECORDS_AT_ONCE, 0.2):
            if message.error() is not None:
                continue
            try:
                batch = decode_decisions(message.value() or b"")
            except BadRecord:  # the gate alone writes there: the ledger's monitor is who alarms about it
                continue
            for one in batch.decisions:
                flow = batch.flows[one.flow].flow if one.flow >= 0 else ""
                found.setdefault(one.at_ms // 1000, Counter())[flow, one.verdict.value, one.reason.value] += 1
        with self._lock:
            for second, kinds in found.items():
                self.pulse.add(second, kinds.elements())

    def _look(self, admin: AdminClient) -> Look:
        parts = [TopicPartition(topic, i) for topic, count in self.watched.topics.items() for i in range(count)]
        latest = api().OffsetSpec.latest()
        asked = admin.list_offsets(dict.fromkeys(parts, latest), request_timeout=WAIT_S)
        ends = {(part.topic, part.partition): future.result().offset for part, future in asked.items()}
        totals: Counter[str] = Counter()
        for (topic, _), end in ends.items():
            totals[topic] += end
        lags = {group: self._lag(admin, group, topics, ends) for group, topics in self.watched.groups.items()}
        return Look(at=time.time(), ends=totals, lags=lags)

    def _lag(self, admin: AdminClient, group: str, topics: Sequence[str], ends: Mapping[tuple[str, int], int]) -> int:
        parts = [TopicPartition(topic, i) for topic in topics for i in range(self.watched.topics[topic])]
        (future,) = admin.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group, parts)], request_timeout=WAIT_S
        ).values()
        held = {(p.topic, p.partition): p.offset for p in future.result().topic_partitions or ()}
        # A partition of which the group has taken nothing yet says a negative offset.
        return sum(max(0, ends[part] - max(0, held.get(part, 0))) for part in ((p.topic, p.partition) for p in parts))
