"""Send prepared records so that a failure leaves no gap, and a sender that was overtaken can send nothing more.

Each call is a Kafka transaction of the outbox's own transactional id. The broker shuts out whoever started before: a
relay that was stopped for a while, and lost its outbox to another, cannot write old rows behind newer ones. librdkafka
is told to treat a gap as fatal, for readers that do not wait for commits: once a record is lost, none behind it is
written. A producer that failed is thrown away with all that it held.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from passerelle.config import KafkaAccess
from passerelle.publish.outgoing import Prepared, PublishFault
from passerelle_schemas.topics import partition_of

TRANSACTION_MS_MAX = 20_000
"""How long a batch may take, a leader election included; and how long one that a crash left open is seen by none."""
CALL_S_MAX = TRANSACTION_MS_MAX / 1000 + 5
METADATA_S_MAX = 10.0
LINGER_MS = 5
"""Fills batches when many are sent at once; nobody waits 5 ms for a single event."""
RETRY_BACKOFF_MS = 20
"""librdkafka's 100 would be most of what a commit takes, where the coordinator answers that it is still busy."""

LAST_RECORDS = 64
"""Where the search for the last record begins: near the end, since compaction leaves the newest segment as it is."""
POLL_S = 0.2
READING: Mapping[str, str | int | bool] = {
    "group.id": "unused",
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "isolation.level": "read_committed",
    "fetch.wait.max.ms": 10,
    "log_level": 0,
}

SHUT_OUT = frozenset({"_FENCED", "INVALID_PRODUCER_EPOCH", "PRODUCER_FENCED", "INVALID_PRODUCER_ID_MAPPING"})
"""How the broker says that a later producer of the same id has started."""


class BrokerAway(PublishFault):
    """The broker did not take everything. A new producer may do better."""

    exit_code = 75


class ShutOut(PublishFault):
    """Another sender of the same id has started: only a new process may go on, and only if that one is gone."""

    exit_code = 75


class SteadySender:
    """A context manager. Raises `BrokerAway`, `ShutOut`."""

    def __init__(self, access: KafkaAccess, transactional_id: str) -> None:
        self._access = access
        self._transactional_id = transactional_id
        self._partitions: dict[str, int] = {}
        self._producer: Producer | None = None
        self._lost: KafkaError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._throw_away()

    def start(self) -> bool:
        """Shut out whoever sent before, unless that is done; return whether it was done now."""
        if self._producer is not None:
            return False
        self._lost = None
        self._producer = producer = Producer(self._settings())
        self._faults(lambda: producer.init_transactions(CALL_S_MAX))
        return True

    def send(self, records: Sequence[Prepared]) -> None:
        """Write all, in their order, on every replica. `start` first. After a fault a first part may be readable."""
        self._faults(lambda: self._send(records))

    def last(self, topic: str) -> bytes | None:
        """Return the last committed value on a topic of one partition; None when there is none.

        After `start`: by then all that an earlier sender of the same id left is settled, and nothing is added.
        """
        found: list[bytes | None] = [None]
        self._faults(lambda: found.append(self._last(TopicPartition(topic, 0))))
        return found[-1]

    def _last(self, place: TopicPartition) -> bytes | None:
        reader = Consumer({**self._access.confluent(), **READING})
        try:
            first, end = reader.get_watermark_offsets(place, METADATA_S_MAX)
            near = max(first, end - LAST_RECORDS)
            found = self._last_from(reader, place, near)
            return self._last_from(reader, place, first) if found is None and near > first else found
        finally:
            reader.close()

    @staticmethod
    def _last_from(reader: Consumer, place: TopicPartition, first: int) -> bytes | None:
        """Read to the end. Many of the offsets are no records: each transaction ends with a marker."""
        reader.assign([TopicPartition(place.topic, place.partition, first)])
        found: bytes | None = None
        until = time.monotonic() + CALL_S_MAX
        while time.monotonic() < until:
            message = reader.poll(POLL_S)
            if message is None:
                continue
            error = message.error()
            if error is None:
                found = message.value()
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - how the library names it
                return found
            elif error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED:
                # No group is joined; the library looks for the coordinator of the one it wants named all the same.
                raise KafkaException(error)
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001 - the same

    def _send(self, records: Sequence[Prepared]) -> None:
        producer = self._producer
        if producer is None:
            raise BrokerAway("the sender is not started")
        producer.begin_transaction()
        for record in records:
            producer.produce(
                record.topic,
                record.value,
                record.key,
                partition_of(record.key, self._partitions_of(producer, record.topic)),
                headers=dict[str, str | bytes | None](record.headers),
            )
        producer.commit_transaction(CALL_S_MAX)
        if self._lost is not None:
            raise KafkaException(self._lost)

    def _lose(self, error: KafkaError | None, _message: Message) -> None:
        self._lost = self._lost or error

    def _partitions_of(self, producer: Producer, topic: str) -> int:
        """Ask once, as the manifest fixes the number for ever."""
        if topic not in self._partitions:
            found = producer.list_topics(topic, METADATA_S_MAX).topics[topic]
            if found.error is not None:
                raise KafkaException(found.error)
            self._partitions[topic] = len(found.partitions)
        return self._partitions[topic]

    def _faults(self, call: Callable[[], None]) -> None:
        """Make the call; after an error nothing that the producer held is written any more."""
        try:
            call()
        except (KafkaException, BufferError) as exc:
            self._throw_away()
            error = exc.args[0] if exc.args else None
            code = error.name() if isinstance(error, KafkaError) else type(exc).__name__
            if code in SHUT_OUT:
                raise ShutOut(f"another process publishes as {self._transactional_id} ({code})") from None
            hint = "is it up? passerelle kafka status   are the rights set? passerelle city apply"
            what = f"the broker did not take the events ({code})"
            raise BrokerAway(what, where=self._access.bootstrap_servers, hint=hint) from None

    def _throw_away(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()
            producer.poll(0)  # tells of what was purged, which nobody asks about any more

    def _settings(self) -> dict[str, Any]:
        return {
            **self._access.confluent(),
            "client.id": self._transactional_id,
            "transactional.id": self._transactional_id,
            "transaction.timeout.ms": TRANSACTION_MS_MAX,
            "enable.gapless.guarantee": True,
            "linger.ms": LINGER_MS,
            "delivery.report.only.error": True,
            "on_delivery": self._lose,
            "retry.backoff.ms": RETRY_BACKOFF_MS,
            "log_level": 0,
        }
