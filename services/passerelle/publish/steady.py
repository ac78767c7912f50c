"""Send prepared records so that a failure leaves no gap, and a sender that was overtaken can send nothing more.

Each call is a Kafka transaction of the outbox's own transactional id. The broker shuts out whoever started before: a
relay that was stopped for a while, and lost its outbox to another, cannot write old rows behind newer ones. librdkafka
is told to treat a gap as fatal, for readers that do not wait for commits: once a record is lost, none behind it is
written. A producer that failed is thrown away with all that it held.
"""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

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
                on_delivery=self._delivered,
            )
        producer.commit_transaction(CALL_S_MAX)
        if self._lost is not None:
            raise KafkaException(self._lost)

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None and self._lost is None:
            self._lost = error

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

    def _settings(self) -> dict[str, str | int | float | bool]:
        return {
            **self._access.confluent(),
            "client.id": self._transactional_id,
            "transactional.id": self._transactional_id,
            "transaction.timeout.ms": TRANSACTION_MS_MAX,
            "enable.gapless.guarantee": True,
            "linger.ms": LINGER_MS,
            "retry.backoff.ms": RETRY_BACKOFF_MS,
            "log_level": 0,
        }
