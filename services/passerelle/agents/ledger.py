"""Which offsets may be committed: only what every delivered batch before it allows (DESIGN §5a, rule 2).

Faust's own book-keeping commits past a batch that nobody acknowledged yet (`Consumer._new_offset`, 0.15.3): a crash
then loses that batch.
"""

from collections import deque
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

P = TypeVar("P", bound=Hashable)


class Delivered(Protocol):
    """A batch on its way: Faust's message."""

    offset: int
    """Of the batch's last record."""
    acked: bool


class CommitLedger(Generic[P]):
    """Delivered batches of each partition, in order of delivery. Bounded by the agents' queues, which hold few."""

    def __init__(self) -> None:
        self._pending: dict[P, deque[Delivered]] = {}

    def delivered(self, partition: P, batch: Delivered) -> None:
        """Note a batch before it is handed on."""
        self._pending.setdefault(partition, deque()).append(batch)

    def committable(self, partition: P) -> int | None:
        """The offset to commit: one past the acknowledged prefix, which is then forgotten. None: nothing new."""
        pending, offset = self._pending.get(partition, deque()), None
        while pending and pending[0].acked:
            offset = pending.popleft().offset + 1
        return offset

    def forget(self) -> None:
        """Every partition was revoked: what is not acknowledged will be delivered again, here or elsewhere."""
        self._pending.clear()


class Holes(Generic[P]):
    """Tells a fetch that a rebalance swallowed from a hole that the log has (compaction, retention, transactions).

    A hole is believed when asking again gave the same answer.
    """

    def __init__(self) -> None:
        self._asked: dict[P, tuple[int, int, int]] = {}

    def believed(self, partition: P, generation: int, wanted: int, first: int) -> bool:
        """Whether ``first`` may follow ``wanted``. False: seek back to ``wanted`` and look again."""
        seen = (generation, wanted, first)
        if first <= wanted or self._asked.get(partition) == seen:
            self._asked.pop(partition, None)
            return True
        self._asked[partition] = seen
        return False
