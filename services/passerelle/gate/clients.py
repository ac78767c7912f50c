"""The gate's Kafka clients, with the settings that mattered. The only module of the gate that makes one.

Measured on Apache Kafka 4.3.1 with librdkafka 2.16: back-to-back transactions of one producer wait for the broker's
CONCURRENT_TRANSACTIONS answer, so `retry.backoff.ms` is a floor of latency (93 ms at its default of 100, 17 ms at 20).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, Producer

GROUP = "gate"
"""Also of the clients that join no group and commit nothing: librdkafka looks a group up for every consumer, and the
gate's rights name this one alone."""

PREFETCH_KBYTES_MAX = 32_768
"""Bounds what a consumer holds undecided: 32 MiB, some 100,000 proposals."""

PRODUCE_QUEUE_MAX = 100_000
"""Messages. One transaction brings at most two records a proposal, and `worker.BATCH_RECORDS_MAX` bounds those."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timings:
    """How long things may take. Milliseconds, unless the name says otherwise."""

    interval_ms: int = 20
    """How long a batch may gather: a bound on latency when traffic is thin."""
    session_ms: int = 6_000
    """After this silence the group gives a worker's partitions to another."""
    transaction_ms: int = 10_000
    """After this the broker aborts a transaction whose owner fell silent."""
    call_s: float = 4.0
    """One transactional call, before the same call is repeated."""
    patience_s: float = 120.0
    """How long a partition may fail to be taken over before the process gives up for its supervisor to start anew."""


class Clients:
    """Makes clients of one principal on one cluster."""

    def __init__(self, access: Mapping[str, Any], timings: Timings, *, worker: str) -> None:
        """``access`` are the connection's settings."""
        self._timings = timings
        self._worker = worker
        self._base: dict[str, Any] = {
            **access,
            "retry.backoff.ms": 20,
            "retry.backoff.max.ms": 200,
            "reconnect.backoff.max.ms": 500,
            # Critical only: what goes wrong reaches us as errors, and librdkafka would write it to stderr besides.
            "log_level": 2,
        }

    def consumer(self, on_error: Callable[[KafkaError], None]) -> Consumer:
        """The member of the group, over the exchange. ``on_error`` hears what concerns the whole client."""
        timings = self._timings
        return self._consumer(
            "exchange",
            {
                "error_cb": on_error,
                "partition.assignment.strategy": "range",
                "session.timeout.ms": timings.session_ms,
                "heartbeat.interval.ms": max(300, timings.session_ms // 6),
                # A round is bounded by its calls' time-outs; twice the patience leaves room for a take-over.
                "max.poll.interval.ms": max(timings.session_ms, int(timings.patience_s * 2_000)),
                "auto.offset.reset": "earliest",
            },
        )

    def feed(self) -> Consumer:
        """Follows `consent`. A lost position is an error and no new start: the task must load again."""
        return self._consumer("consent", {"auto.offset.reset": "error"})

    def loader(self) -> Consumer:
        """Reads `consent` and `marks` from their beginnings to their ends."""
        return self._consumer("load", {"auto.offset.reset": "earliest", "enable.partition.eof": True})

    def probe(self) -> Consumer:
        """Asks for ends of logs, open transactions included (fence rule 6)."""
        return self._consumer("probe", {"isolation.level": "read_uncommitted"})

    def producer(self, partition: int) -> Producer:
        """The producer of task ``partition``; whoever initialises its transactions owns the task (fence rule 3)."""
        timings = self._timings
        return Producer(
            {
                **self._base,
                "client.id": f"gate-{partition}-{self._worker}",
                "transactional.id": f"gate-{partition}",
                "transaction.timeout.ms": timings.transaction_ms,
                "message.timeout.ms": timings.transaction_ms,
                "socket.timeout.ms": min(4_000, timings.transaction_ms - 500),
                "linger.ms": 2,
                "queue.buffering.max.messages": PRODUCE_QUEUE_MAX,
            }
        )

    def _consumer(self, part: str, settings: Mapping[str, Any]) -> Consumer:
        return Consumer(
            {
                **self._base,
                "client.id": f"gate-{part}-{self._worker}",
                "group.id": GROUP,
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 10 if self._timings.interval_ms <= 20 else 20,  # noqa: PLR2004 - of the default interval
                "fetch.error.backoff.ms": 20,
                "fetch.queue.backoff.ms": 5,
                "queued.min.messages": 50_000,
                "queued.max.messages.kbytes": PREFETCH_KBYTES_MAX,
                **settings,
            }
        )
