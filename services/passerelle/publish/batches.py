"""The rows of an outbox batch by batch: the next is read while the last is made ready and sent.

The database and the relay work on two cores so. They share one session, which is one thread's at a time: whoever wants
to write to the table waits for the reading to end (`settle`). What is read ahead lies behind what was read last; rows
that an operator gave back lie before, so the reading begins at the front again now and then.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Protocol, Self

from passerelle.publish.horizon import Horizon
from passerelle.publish.outbox_table import OutboxRow

AHEAD_MAX = 16
"""Batches in a row that are read ahead: what is given back waits for so many at most."""


class Waiting(Protocol):
    """What `OutboxTable` tells of the rows that wait."""

    full: int
    """How many rows ``read`` returns when there are more."""

    def look(self) -> tuple[int, frozenset[str]]:
        """Return the highest id that waits, and who has the table open to write."""

    def read(self, settled: int, *, after: int = 0) -> list[OutboxRow]:
        """Return the first rows behind the id ``after`` that wait, in order, none above ``settled``."""


class Batches:
    """Of one session with the table. A context manager: leave it before the session ends."""

    def __init__(self, table: Waiting) -> None:
        self._table = table
        self._horizon = Horizon()
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="outbox-read")
        self._reading: Future[list[OutboxRow]] | None = None
        self._in_a_row = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._aside.shutdown()

    @property
    def held(self) -> bool:
        """Whether rows wait for somebody's transaction."""
        return self._horizon.held

    def take(self) -> list[OutboxRow]:
        """Return the next rows, in order; none when nothing is settled that waits. Raises `OutboxLost`."""
        reading, self._reading = self._reading, None
        if reading is not None and (ahead := reading.result()):
            return ahead
        self._in_a_row = 0
        return self._read(0)

    def go_on(self, taken: Sequence[OutboxRow]) -> None:
        """Begin to read what is behind ``taken``, when there may be more."""
        if len(taken) >= self._table.full and self._in_a_row < AHEAD_MAX:
            self._in_a_row += 1
            self._reading = self._aside.submit(self._read, taken[-1].id)

    def settle(self) -> None:
        """Wait until the session is free."""
        if self._reading is not None:
            wait([self._reading])

    def _read(self, after: int) -> list[OutboxRow]:
        return self._table.read(self._horizon.look(*self._table.look()), after=after)
