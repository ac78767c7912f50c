"""Task i: one transaction at a time over `exchange[i]`, with a producer of its own.

Subclass points: each step is a small method, so that the fault tests can break one rule at a time from outside.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import Producer, TopicPartition

from passerelle.gate.calls import repeat, send
from passerelle.gate.judge import COMPONENT, Grounds, Judged, Record, judge
from passerelle.gate.notices import notices
from passerelle.gate.state import TaskState
from passerelle.pseudonyms import Keyring
from passerelle_consent.wire import FenceMark, encode_decisions, encode_fence, encode_mark
from passerelle_schemas.topics import CONSENT, DECISIONS, EXCHANGE, FENCE, MARKS, dead_letter

DEAD_LETTER_PARTITION = 0
"""There is one: dead letters are few, and an operator reads them in one place."""

Clock = Callable[[], int]
"""Epoch milliseconds."""


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


class Task:
    """The owner of partition i while its producer and its group metadata are the newest ones."""

    def __init__(
        self,
        *,
        state: TaskState,
        producer: Producer,
        group: Any,
        keyring: Keyring,
        worker: str,
        call_s: float,
        clock: Clock = now_ms,
    ) -> None:
        """``group`` is the consumer group metadata captured at assignment (fence rule 7); ``call_s`` bounds a call."""
        self.state = state
        self.producer = producer
        self.group = group
        self._keyring = keyring
        self._worker = worker
        self._call_s = call_s
        self._clock = clock

    def has_news(self) -> bool:
        """Whether consent was applied that no fence marker tells of yet."""
        return self.state.applied > self.state.fenced

    def transact(self, records: Sequence[Record]) -> Mapping[str, int]:
        """Decide and release ``records`` in one transaction; without records, tell the fence alone.

        Records are in order and begin at `state.decided` or, after a gap in the log, beyond it. The transaction
        begins and ends inside this call: none spans a poll (fence rule 8). Returns what to count. Raises
        `KafkaException`, `CannotProduce`: the caller then gives up this task and its producer, whatever became of
        the transaction (fence rule 11).
        """
        if self.state.held:
            records = ()  # closed by default: what a held task does not decide it does not pass over either
        applied = self.applied_at_begin()
        judged = self.judge(records)
        repeat(self.producer.begin_transaction)
        if judged is not None:
            self.release(judged)
        if applied > self.state.fenced:
            self.mark_fence(applied)
        self.notify(applied)
        decided = records[-1].offset + 1 if records else self.state.decided
        self.send_offsets(self.offsets_to_commit(decided, applied))
        self.commit()
        self.state.settle(decided=decided, fenced=applied, moved=judged.moved if judged else {})
        return _counts(records, judged)

    def applied_at_begin(self) -> int:
        """Fence rule 2: a transaction commits the consent position held when it began, which is what it judged by."""
        return self.state.applied

    def judge(self, records: Sequence[Record]) -> Judged | None:
        """Judge by what the task knows; None without records or policy."""
        policy = self.state.policy
        if not records or policy is None:
            return None
        grounds = Grounds(
            partition=self.state.partition,
            policy=policy,
            standings=self.state.standings,
            marks=self.state.marks,
            keyring=self._keyring,
        )
        return judge(records, grounds, self._clock())

    def release(self, judged: Judged) -> None:
        """Produce deliveries, decisions, marks and dead letters. All but the last to partition i."""
        producer, partition = self.producer, self.state.partition
        for topic, key, value, headers in judged.deliveries:
            send(producer, topic, value, key=key, partition=partition, headers=headers)
        for packed in encode_decisions(judged.decisions):
            send(producer, DECISIONS, packed, key=None, partition=partition)
        for source, mark in judged.moved.items():
            send(producer, MARKS, encode_mark(mark), key=source, partition=partition)
        for letter in judged.dead_letters:
            send(producer, dead_letter(COMPONENT), letter.encode(), key=None, partition=DEAD_LETTER_PARTITION)

    def notify(self, applied: int) -> None:
        """Tell recipients of erasures below ``applied``, in the transaction that commits that offset (GDPR Art. 19)."""
        erased = [e for e in self.state.erased if e.offset < applied]
        for topic, key, value, headers in notices(erased, self._keyring):
            send(self.producer, topic, value, key=key, partition=self.state.partition, headers=headers)

    def mark_fence(self, applied: int) -> None:
        """Tell `fence[i]`, in the same transaction, how far consent is applied: the acknowledgement waits for this."""
        partition = self.state.partition
        mark = encode_fence(FenceMark(applied=applied, worker=self._worker))
        send(self.producer, FENCE, mark, key=str(partition).encode(), partition=partition)

    def offsets_to_commit(self, decided: int, applied: int) -> list[TopicPartition]:
        """Fence rule 1: every transaction commits the offsets of both `exchange[i]` and `consent[i]`."""
        partition = self.state.partition
        return [TopicPartition(EXCHANGE, partition, decided), TopicPartition(CONSENT, partition, applied)]

    def send_offsets(self, offsets: list[TopicPartition]) -> None:
        """Add the offsets under the captured metadata: an older generation is refused here (KIP-447)."""
        repeat(self.producer.send_offsets_to_transaction, offsets, self.group, self._call_s)

    def commit(self) -> None:
        """Commit. After an error nobody knows whether it did; the next take-over finds out (fence rule 4)."""
        repeat(self.producer.commit_transaction, self._call_s)


def _counts(records: Sequence[Record], judged: Judged | None) -> Mapping[str, int]:
    counts = Counter(judged.counts) if judged else Counter[str]()
    counts["transactions"] += 1
    if judged is not None:
        counts["proposals"] += len(records)
        counts["delivered"] += len(judged.deliveries)
    return counts
