"""The loop of one gate worker: poll, take over, apply consent, transact, and again.

Everything but the transactions themselves runs on the thread that polls, and every transaction of a round ends before
the next poll (fence rule 8): rebalance callbacks, which run inside the poll, never meet an open transaction.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from passerelle.gate.calls import CannotProduce, error_name, give_up
from passerelle.gate.clients import Clients, Timings
from passerelle.gate.feed import Feed
from passerelle.gate.judge import Record
from passerelle.gate.load import TakeOver
from passerelle.gate.policy import policy_reader
from passerelle.gate.task import Task
from passerelle.pseudonyms import Keyring
from passerelle_schemas.faults import Fault
from passerelle_schemas.topics import EXCHANGE

BATCH_RECORDS_MAX = 10_000
"""Of one poll, all partitions together. Bounds a transaction's time and the producer's queue."""
SLICES = 4
"""A round's wait is cut up: whoever withdraws waits a quarter of it at most before the next transaction begins."""
SKIPS_MAX = 3
"""A client that skips more often in a row is broken; another process may read on."""
TAKE_OVER_PAUSE_S = 0.5
STATS_S = 1.0
CLOSE_S = 5.0
"""What is not closed by then ends with the process; the next owner settles it as it settles a killed one's."""
REACH_S = 2.0
"""One question to the cluster, asked only while the client says that no broker can be reached."""

_UNREACHABLE = frozenset(
    {KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION, KafkaError._RESOLVE}  # noqa: SLF001 - the library's own names
)

_log = structlog.get_logger(__name__)


class GaveUp(Fault):
    """The process cannot do its work for now. Its supervisor starts it again (BSD's EX_TEMPFAIL)."""

    exit_code = 75


@dataclass(kw_only=True, slots=True)
class Slot:
    """A partition that this worker was assigned, with its task once that is up."""

    partition: int
    task: Task | None = None
    paused: bool = True
    due: float
    """When to try the take-over (monotonic seconds)."""
    failing_since: float | None
    """Since when no transaction has succeeded (monotonic seconds); None when the last one did."""
    skips: int = 0
    """How often in a row the client skipped offsets that the log holds."""

    def runs(self) -> bool:
        """Whether proposals may be taken."""
        return self.task is not None and self.task.state.held is None


class Worker:
    """One member of the gate's group, and the tasks of the partitions that it owns."""

    def __init__(
        self,
        *,
        clients: Clients,
        timings: Timings,
        keyring: Keyring,
        recipients: frozenset[str],
        partitions: int,
        name: str,
        make_task: Callable[..., Task] = Task,
    ) -> None:
        """``recipients``: who has a key and an inbox; ``partitions``: of the exchange; ``make_task``: as `Task`."""
        self.tally: Counter[str] = Counter()
        self._timings = timings
        self._keyring = keyring
        self._name = name
        self._make_task = make_task
        self._pool = ThreadPoolExecutor(max_workers=partitions, thread_name_prefix="task")
        self._consumer = clients.consumer(self._client_error)
        self._feed = Feed(clients.feed())
        self._take_over = TakeOver(clients, timings, policy_reader(recipients), self._pool, self._retire)
        self._slots: dict[int, Slot] = {}
        self._group: Any = None
        self._closing: list[threading.Thread] = []
        self._stats_due = 0.0
        self._unreached_since: float | None = None

    # -- the loop ------------------------------------------------------------------------------------------------

    def run(self, stopping: Callable[[], bool]) -> None:
        """Work until ``stopping()``; then leave the group. Raises `GaveUp`."""
        self._consumer.subscribe(
            [EXCHANGE], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )
        try:
            while not stopping():
                self.round()
        except KafkaException as exc:
            raise GaveUp(f"the broker's client cannot go on: {error_name(exc)}") from None
        finally:
            self.close()

    def round(self) -> None:
        """One turn: poll, take over what is due, apply consent, transact, report."""
        batches = self._poll()
        self._take_over_due()
        self.apply_consent()
        self._steer()
        self._transact(batches)
        self._watch()
        self._report()

    def apply_consent(self) -> None:
        """Apply what is new of consent. Between transactions only (fence rule 2)."""
        for partition in self._feed.apply():
            self._drop(self._slots[partition], TAKE_OVER_PAUSE_S, "consent-feed-lost")

    def close(self) -> None:
        """Finish: no transaction is open here. Leaves the group, closes every client."""
        self._retire_all(list(self._slots))
        self._report(last=True)
        self._consumer.close()
        self._feed.close()
        self._take_over.close()
        self._pool.shutdown()
        deadline = time.monotonic() + CLOSE_S
        for thread in self._closing:
            thread.join(max(0.0, deadline - time.monotonic()))

    # -- polling -------------------------------------------------------------------------------------------------

    def _poll(self) -> dict[int, list[Record]]:
        """Records of the running tasks, each list without a gap and beginning where its task stands."""
        arrived: dict[int, list[Record]] = {}
        for message in self._gather():
            partition, error = message.partition(), message.error()
            if error is not None:
                self._consume_error(error)
            elif partition in self._slots and self._slots[partition].runs():
                arrived.setdefault(partition, []).append(_record(message))
        return {p: records for p, found in arrived.items() if (records := self._in_order(self._slots[p], found))}

    def _gather(self) -> list[Message]:
        """What arrives within the interval, or before there is something to tell the fence."""
        messages: list[Message] = []
        for _ in range(SLICES):
            wait_s = self._timings.interval_ms / 1000 / SLICES
            messages += self._consumer.consume(BATCH_RECORDS_MAX - len(messages), wait_s)
            self.apply_consent()
            if len(messages) == BATCH_RECORDS_MAX or any(s.task and s.task.has_news() for s in self._slots.values()):
                break
        return messages

    def _in_order(self, slot: Slot, records: list[Record]) -> list[Record]:
        """What may be taken of ``records``: none twice, and nothing beyond offsets that the client skipped.

        Offsets go missing rightly, by retention or a transaction's marker, and wrongly, when a client skips. The log
        is asked which it is: a gap that it holds is believed at once, any other is read again.
        """
        assert slot.task is not None  # noqa: S101 - runs() said so
        expected = slot.task.state.decided
        if records[0].offset == expected and records[-1].offset == expected + len(records) - 1:
            return records
        taken: list[Record] = []
        for record in records:
            if record.offset < expected:
                continue
            if record.offset > expected and not self._is_gap(slot, expected, record.offset):
                self._pause(slot)  # and so it is read again from where the task stands
                break
            taken.append(record)
            expected = record.offset + 1
        return taken

    def _is_gap(self, slot: Slot, first: int, offset: int) -> bool:
        """Whether the log itself holds nothing from ``first`` to ``offset``. Raises `GaveUp`."""
        self.tally["gaps"] += 1
        found = self._take_over.first_from(slot.partition, first)
        _log.warning("gap", partition=slot.partition, first=first, offset=offset, log=found)
        if found == offset:
            slot.skips = 0
            return True
        slot.skips += 1
        if slot.skips > SKIPS_MAX:
            raise GaveUp(f"the client skips exchange [{slot.partition}] from {first}")
        return False

    def _consume_error(self, error: KafkaError) -> None:
        self.tally["consume_errors"] += 1
        _log.warning("consume", error=error.name())
        if error.fatal():
            raise GaveUp(f"the consumer cannot go on: {error.name()}")

    # -- assignment: these run inside the poll -------------------------------------------------------------------

    def _on_assign(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        """Capture the generation (fence rule 7) and pause: a partition is read once its task is up (fence rule 13)."""
        # Without a member id the metadata would be accepted unfenced, so such an assignment is not worked on.
        self._group = consumer.consumer_group_metadata() if consumer.memberid() else None
        now = time.monotonic()
        self._slots = {p.partition: Slot(partition=p.partition, due=now, failing_since=now) for p in places}
        consumer.assign([TopicPartition(EXCHANGE, p.partition, 0) for p in places])
        consumer.pause([TopicPartition(EXCHANGE, p.partition) for p in places])
        _log.info("assigned", parts=sorted(self._slots), member=self._group is not None)
        if not places:  # more workers than partitions: this one stands by
            _log.info("ready", parts=[], held={})

    def _on_revoke(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        self._retire_all([p.partition for p in places])
        consumer.unassign()
        _log.info("revoked", parts=sorted(p.partition for p in places))

    def _on_lost(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        self._retire_all([p.partition for p in places])
        consumer.unassign()
        _log.warning("lost", parts=sorted(p.partition for p in places))

    def _retire_all(self, partitions: Collection[int]) -> None:
        for partition in partitions:
            slot = self._slots.pop(partition, None)
            if slot is not None and slot.task is not None:
                self._retire(slot.task.producer)
        self._follow()

    def _retire(self, producer: Producer) -> None:
        """Close it aside: closing aborts what is open, which takes its time when the broker is away.

        The thread refers to it until it is closed (fence rule 12): collected while fenced, librdkafka crashed once.
        """
        self._closing = [thread for thread in self._closing if thread.is_alive()]
        self._closing.append(threading.Thread(target=producer.close, name="close", daemon=True))
        self._closing[-1].start()

    # -- taking over ---------------------------------------------------------------------------------------------

    def _take_over_due(self) -> None:
        """Take over what has no task and is due: assigned now, or given up a while ago and still assigned."""
        now = time.monotonic()
        due = [s.partition for s in self._slots.values() if s.task is None and s.due <= now]
        if not due:
            return
        tasks = self._tasks(due) if self._group is not None else {}
        for partition in due:
            slot = self._slots[partition]
            slot.task = tasks.get(partition)
            slot.due = time.monotonic() + TAKE_OVER_PAUSE_S
        self.tally["takeovers"] += len(tasks)
        self._follow()
        if tasks:
            held = {p: t.state.held for p, t in tasks.items() if t.state.held}
            _log.info("ready", parts=sorted(tasks), held=held)

    def _tasks(self, partitions: Sequence[int]) -> dict[int, Task]:
        producers = self._take_over.own(partitions)
        try:
            states = self._take_over.learn(list(producers), self._consumer) if producers else {}
        except (KafkaException, Fault) as exc:
            _log.warning("take-over-failed", parts=sorted(producers), error=error_name(exc))
            for producer in producers.values():
                self._retire(producer)
            return {}
        return {p: self._task(producers[p], state) for p, state in states.items()}

    def _task(self, producer: Producer, state: Any) -> Task:
        return self._make_task(
            state=state,
            producer=producer,
            group=self._group,
            keyring=self._keyring,
            worker=self._name,
            call_s=self._timings.call_s,
        )

    def _drop(self, slot: Slot, wait_s: float, why: str) -> None:
        """Give a task up; its partition is taken over after ``wait_s``, with a poll in between (fence rule 12)."""
        if slot.task is None:
            return
        self._retire(slot.task.producer)
        self._pause(slot)  # what was read and not committed is read again, from where the next task stands
        now = time.monotonic()
        slot.task, slot.due, slot.failing_since = None, now + wait_s, slot.failing_since or now
        self.tally["failures"] += 1
        _log.warning("dropped", partition=slot.partition, why=why)
        self._follow()

    def _follow(self) -> None:
        self._feed.follow({p: s.task.state for p, s in self._slots.items() if s.task is not None})

    def _steer(self) -> None:
        """Read the partitions whose tasks run, from where they stand; pause the others."""
        for slot in self._slots.values():
            if slot.paused and slot.runs():
                self._resume(slot)
            elif not slot.paused and not slot.runs():
                self._pause(slot)

    def _resume(self, slot: Slot) -> None:
        assert slot.task is not None  # noqa: S101 - runs() said so
        place = TopicPartition(EXCHANGE, slot.partition, slot.task.state.decided)
        try:
            self._consumer.seek(place)
            self._consumer.resume([place])  # a pause by the application survives rebalances (fence rule 13)
        except KafkaException as exc:
            _log.info("seek-failed", partition=slot.partition, error=error_name(exc))
            return
        slot.paused = False

    def _pause(self, slot: Slot) -> None:
        self._consumer.pause([TopicPartition(EXCHANGE, slot.partition)])
        slot.paused = True

    # -- transactions --------------------------------------------------------------------------------------------

    def _transact(self, batches: Mapping[int, Sequence[Record]]) -> None:
        """One transaction for each task with records or news, side by side; returns when all have ended."""
        work = [
            (slot, slot.task, batches.get(p, ()))
            for p, slot in self._slots.items()
            if slot.task is not None and (p in batches or slot.task.has_news())
        ]
        attempts = self._pool.map(self._attempt, work) if len(work) > 1 else map(self._attempt, work)
        for (slot, _, _), outcome in zip(work, list(attempts), strict=True):
            if isinstance(outcome, float):
                self._drop(slot, outcome, "transaction-failed")
            else:
                slot.failing_since = None
                self.tally.update(outcome)

    def _attempt(self, work: tuple[Slot, Task, Sequence[Record]]) -> Mapping[str, int] | float:
        """Counts, or how long to wait before the partition is taken over again. Runs in the pool."""
        slot, task, records = work
        try:
            return task.transact(records)
        except (KafkaException, CannotProduce) as exc:
            _log.warning("transaction-failed", partition=slot.partition, error=error_name(exc))
            session_s = self._timings.session_ms / 1000
            return give_up(task.producer, exc, call_s=self._timings.call_s, session_s=session_s)

    # -- watching and reporting ----------------------------------------------------------------------------------

    def _client_error(self, error: KafkaError) -> None:
        """Runs inside the poll. The client goes on trying by itself; `_watch` bounds how long."""
        if error.code() in _UNREACHABLE and self._unreached_since is None:
            self._unreached_since = time.monotonic()

    def _watch(self) -> None:
        """Give up what has failed for too long, so that a supervisor starts afresh. Raises `GaveUp`."""
        now, patience_s = time.monotonic(), self._timings.patience_s
        stuck = [p for p, s in self._slots.items() if s.failing_since and now - s.failing_since > patience_s]
        if stuck:
            raise GaveUp(f"no transaction of partitions {stuck} succeeds since {patience_s:.0f} s")
        if self._unreached_since is not None and self._reaches():
            self._unreached_since = None
        if self._unreached_since is not None and now - self._unreached_since > patience_s:
            raise GaveUp(f"no broker answers since {patience_s:.0f} s")

    def _reaches(self) -> bool:
        try:
            self._consumer.list_topics(EXCHANGE, timeout=REACH_S)
        except KafkaException:
            return False
        return True

    def _report(self, *, last: bool = False) -> None:
        now = time.monotonic()
        if now < self._stats_due and not last:
            return
        self._stats_due = now + STATS_S
        held = {p: s.task.state.held for p, s in self._slots.items() if s.task is not None and s.task.state.held}
        _log.info("stats", worker=self._name, parts=sorted(self._slots), held=held, **self.tally)


def _record(message: Message) -> Record:
    headers: Any = message.headers()  # the reader's side of the stub says less than the library gives: bytes
    return Record(message.offset() or 0, message.key(), message.value(), headers)
