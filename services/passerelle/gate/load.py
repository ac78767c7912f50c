"""Take over: become the only owner of partitions, and learn all that their last owner knew.

In this order, which is what makes it safe (fence rules 3 to 6):

1. a new producer and `init_transactions`: aborts what the old owner left open, waits until all its markers are written,
   and refuses its late writes;
2. the committed offsets, fetched stable: a transaction whose outcome is on its way is waited for;
3. `consent[i]` to the larger of its end and the committed position, so that no decision is made on a stale standing;
4. `marks[i]` to its uncommitted end, so that no replay is taken for a proposal.

Nothing is decided before; whatever fails leaves no task.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Executor

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from passerelle.gate.calls import error_name, repeat
from passerelle.gate.clients import Clients, Timings
from passerelle.gate.policy import ReadPolicy
from passerelle.gate.state import TaskState
from passerelle_schemas.faults import Fault
from passerelle_schemas.topics import CONSENT, EXCHANGE, MARKS

LOAD_S = 60.0
"""Bounds the loading of one take-over: some millions of standings. Longer, and the worker must hear from its group."""
LOAD_BATCH = 10_000

_log = structlog.get_logger(__name__)


class CannotTakeOver(Fault):
    """A partition stays without a task for now; the worker tries again."""


Place = tuple[str, int]
"""Topic and partition."""


class TakeOver:
    """Takes partitions over for one worker. Used by one thread, but for the producers' initialisation."""

    def __init__(
        self,
        clients: Clients,
        timings: Timings,
        read_policy: ReadPolicy,
        pool: Executor,
        retire: Callable[[Producer], None],
    ) -> None:
        """``retire`` closes a producer that did not come up."""
        self._clients = clients
        self._timings = timings
        self._read_policy = read_policy
        self._pool = pool
        self._retire = retire
        self._loader = clients.loader()
        self._probe = clients.probe()

    def own(self, partitions: Collection[int]) -> dict[int, Producer]:
        """Step 1, for all at once. A partition whose producer does not come up is left out."""
        made = self._pool.map(self._producer, partitions)
        return {p: producer for p, producer in zip(partitions, made, strict=True) if producer is not None}

    def learn(self, partitions: Collection[int], member: Consumer) -> dict[int, TaskState]:
        """Steps 2 to 4, after `own`. ``member`` is the group's. Raises `KafkaException`, `CannotTakeOver`."""
        committed = self._committed(partitions, member)
        states = {p: TaskState(p, self._read_policy) for p in partitions}
        for partition, state in states.items():
            state.decided = self._first_undecided(partition, committed)
            state.told = max(0, committed[CONSENT, partition])
        self._load(states, self._needed(partitions, committed))
        for partition, state in states.items():
            # Compaction may have removed the last records below the committed position.
            state.applied = max(state.applied, committed[CONSENT, partition])
        return states

    def first_from(self, partition: int, offset: int) -> int | None:
        """Offset of the first proposal in the log at or after ``offset``; None when it does not tell in time."""
        self._loader.assign([TopicPartition(EXCHANGE, partition, offset)])
        deadline = time.monotonic() + self._timings.call_s
        try:
            while time.monotonic() < deadline:
                message = self._loader.poll(0.2)
                if message is not None and message.error() is None:
                    return message.offset()
        finally:
            self._loader.unassign()
        return None

    def close(self) -> None:
        """Close the two readers."""
        self._loader.close()
        self._probe.close()

    def _producer(self, partition: int) -> Producer | None:
        producer = self._clients.producer(partition)
        try:
            repeat(producer.init_transactions, self._timings.call_s)
        except KafkaException as exc:
            _log.warning("init-failed", partition=partition, error=error_name(exc))
            self._retire(producer)
            return None
        return producer

    def _committed(self, partitions: Iterable[int], member: Consumer) -> dict[Place, int]:
        """Both positions of each partition; `OFFSET_INVALID` (negative) where nothing is committed.

        The member is read_committed, so the broker answers only when no transaction on these offsets is pending. It
        times out rather than tell a position that may still change.
        """
        wanted = [TopicPartition(t, p) for p in partitions for t in (EXCHANGE, CONSENT)]
        found = repeat(member.committed, wanted, self._timings.call_s)
        for place in found:
            if place.error:
                raise KafkaException(place.error)
        return {(place.topic, place.partition): place.offset for place in found}

    def _first_undecided(self, partition: int, committed: Mapping[Place, int]) -> int:
        offset = committed[EXCHANGE, partition]
        return offset if offset >= 0 else self._ends(EXCHANGE, partition)[0]

    def _needed(self, partitions: Iterable[int], committed: Mapping[Place, int]) -> dict[Place, int]:
        """How far each log must be read. Places of which nothing must be read are left out."""
        needed: dict[Place, int] = {}
        for partition in partitions:
            needed[CONSENT, partition] = max(self._ends(CONSENT, partition)[1], committed[CONSENT, partition])
            needed[MARKS, partition] = self._ends(MARKS, partition)[1]
        return {place: end for place, end in needed.items() if end > 0}

    def _ends(self, topic: str, partition: int) -> tuple[int, int]:
        """First and next offset, uncommitted records included."""
        place = TopicPartition(topic, partition)
        ends = repeat(self._probe.get_watermark_offsets, place, timeout=self._timings.call_s)
        if not ends:
            raise CannotTakeOver(f"the ends of {topic} [{partition}] are not known")
        return ends

    def _load(self, states: Mapping[int, TaskState], needed: dict[Place, int]) -> None:
        deadline = time.monotonic() + LOAD_S
        self._loader.assign([TopicPartition(t, p, OFFSET_BEGINNING) for t, p in needed])
        try:
            while needed:
                for message in self._loader.consume(LOAD_BATCH, 0.2):
                    _take(message, states, needed)
                if time.monotonic() > deadline:
                    raise CannotTakeOver(f"not loaded in {LOAD_S:.0f} s: {sorted(needed)}")
        finally:
            self._loader.unassign()


def _take(message: Message, states: Mapping[int, TaskState], needed: dict[Place, int]) -> None:
    """Fold one message in; at a partition's end, see whether that is far enough."""
    place: Place = (str(message.topic()), int(message.partition() or 0))
    error, offset = message.error(), message.offset()
    if offset is None:
        return
    if error is not None:
        if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - how the library names its own errors
            raise KafkaException(error)
        if offset >= needed.get(place, 0):
            needed.pop(place, None)
        return
    state = states[place[1]]
    if place[0] == CONSENT:
        state.apply_consent(offset, message.key(), message.value())
    else:
        state.load_mark(message.key(), message.value())
