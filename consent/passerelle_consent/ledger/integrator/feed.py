"""Reads one topic for the integrator: all partitions, read_committed, from the positions that the database keeps.

The consumer is injected and assigned explicitly; no group and no committed offset of Kafka plays a part.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from passerelle_consent.ledger.sealing.sequence import Ends
from passerelle_schemas.faults import Fault

REQUEST_TIMEOUT_S = 10
POLL_TIMEOUT_S = 0.05
"""One wait for records. Several make up a step, so it bounds how late a step sees that it has enough."""

POLL_RECORDS_MAX = 64
"""Records taken from the client at once: of at most 1 MiB each, they stay within its own queue bound of 64 MiB."""


class FeedFault(Fault):
    """The topic cannot be read: broker away, rights missing, records gone."""


class BrokerAway(FeedFault):
    """The broker did not answer. Trying again may help."""


class Consumer(Protocol):
    """The part of ``confluent_kafka.Consumer`` that is used."""

    def assign(self, partitions: list[TopicPartition], /) -> None:
        """Read these, from their offsets."""

    def consume(self, num_messages: int = ..., timeout: float = ...) -> Sequence[Any]:
        """Return at most so many messages, after at most so many seconds."""

    def get_watermark_offsets(
        self, partition: TopicPartition, *, timeout: float = ..., cached: bool = ...
    ) -> tuple[int, int] | None:
        """Return the first offset and, for a read_committed consumer, the last stable one."""

    def list_topics(self, topic: str = ..., timeout: float = ...) -> Any:
        """Return cluster metadata."""


def consumer_settings(access: Mapping[str, Any]) -> dict[str, Any]:
    """Settings for the consumer of a feed; ``access`` says where the broker is and who one is."""
    return {
        **access,
        "group.id": "ledger",  # asked for by the client; never joined, nothing is committed to it
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # Records that are gone are a gap in the evidence: an error, not a reason to start elsewhere.
        "auto.offset.reset": "error",
        # The end of a partition lies behind its last record (transaction markers): only this event tells.
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 50,
        # The client's own lines are no JSON; what they tell of comes as an event or an exception as well.
        "log_level": 0,
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One record of the topic."""

    partition: int
    offset: int
    value: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class _Read:
    """A record, or the news that nothing stands below ``next``."""

    partition: int
    next: int
    record: Record | None


class Feed:
    """One topic, read forward. ``positions`` is where a restart would go on."""

    def __init__(self, consumer: Consumer, topic: str) -> None:
        self.topic = topic
        self.positions: dict[int, int] = {}
        self._consumer = consumer
        self._waiting: dict[int, deque[_Read]] = {}

    def start(self, positions: Ends) -> None:
        """Read from ``positions``; from 0 where there is none. Raises `FeedFault` when records are gone."""
        self.positions = {p: positions.get(p, 0) for p in self._partitions()}
        self._waiting = {p: deque() for p in self.positions}
        for partition, position in self.positions.items():
            self._check_reach(partition, position)
        self._consumer.assign([TopicPartition(self.topic, p, o) for p, o in self.positions.items()])

    def ends(self) -> dict[int, int]:
        """Partition → offset after the last record that a committed transaction left there, as of now."""
        return {partition: self._watermarks(partition)[1] for partition in self.positions}

    def reached(self, ends: Ends) -> bool:
        """Whether all below ``ends`` was taken."""
        return all(self.positions[p] >= end for p, end in ends.items())

    def take(self, ends: Ends, *, polls_max: int, bytes_max: int) -> list[Record]:
        """Take records below ``ends`` in order of their partitions, until there are no more or one bound is met."""
        taken: list[Record] = []
        size = 0
        for poll in range(polls_max + 1):
            if poll:
                for message in self._poll():
                    self._sort_in(message)
            fresh = [record for partition, end in ends.items() for record in self._below(partition, end)]
            size += sum(len(record.value) for record in fresh)
            taken += fresh
            if self.reached(ends) or size >= bytes_max:
                break
        return taken

    def _below(self, partition: int, end: int) -> list[Record]:
        waiting, fresh = self._waiting[partition], []
        while waiting and (waiting[0].record is None or waiting[0].record.offset < end):
            read = waiting.popleft()
            if read.record is not None:
                fresh.append(read.record)
            self.positions[partition] = max(self.positions[partition], read.next)
        return fresh

    def _sort_in(self, message: Any) -> None:
        partition, offset, error = message.partition(), message.offset(), message.error()
        if error is None:
            if offset >= self.positions[partition]:
                record = Record(partition=partition, offset=offset, value=message.value() or b"")
                self._waiting[partition].append(_Read(partition=partition, next=offset + 1, record=record))
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's name for its own events
            self._waiting[partition].append(_Read(partition=partition, next=offset, record=None))
        elif not error.retriable() and error.code() not in _TRANSIENT:
            raise FeedFault(f"cannot be read ({error.name()})", where=f"{self.topic}[{partition}]")

    def _poll(self) -> Sequence[Any]:
        try:
            return self._consumer.consume(POLL_RECORDS_MAX, POLL_TIMEOUT_S)
        except KafkaException as exc:
            raise self._away(exc) from None

    def _partitions(self) -> list[int]:
        try:
            found = self._consumer.list_topics(self.topic, timeout=REQUEST_TIMEOUT_S).topics.get(self.topic)
        except KafkaException as exc:
            raise self._away(exc) from None
        if found is None or found.error is not None or not found.partitions:
            raise FeedFault("no such topic, or no right to it", where=self.topic, hint="run: passerelle city apply")
        return sorted(found.partitions)

    def _check_reach(self, partition: int, position: int) -> None:
        first, end = self._watermarks(partition)
        where = f"{self.topic}[{partition}]"
        if position < first:
            raise FeedFault(f"records {position} to {first - 1} are gone: the ledger would have a gap", where=where)
        if position > end:
            raise FeedFault(
                f"ends at {end}, and the ledger has integrated up to {position}",
                where=where,
                hint="the topic was made anew, or this is another cluster's ledger",
            )

    def _watermarks(self, partition: int) -> tuple[int, int]:
        place = TopicPartition(self.topic, partition)
        try:
            marks = self._consumer.get_watermark_offsets(place, timeout=REQUEST_TIMEOUT_S, cached=False)
        except KafkaException as exc:
            raise self._away(exc) from None
        if marks is None:
            raise BrokerAway("the broker did not answer in time", where=self.topic)
        return marks

    def _away(self, exc: KafkaException) -> FeedFault:
        error = exc.args[0]
        kind = BrokerAway if error.retriable() or error.code() in _TRANSIENT else FeedFault
        return kind(f"the broker said no ({error.name()})", where=self.topic)


_TRANSIENT = frozenset(
    {
        KafkaError._TRANSPORT,  # noqa: SLF001 - librdkafka's name
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError._RESOLVE,  # noqa: SLF001
    }
)
"""The client goes on by itself after these."""
