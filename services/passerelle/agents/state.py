"""The state of one partition of a join's log: (entries by subject, next offset to fold). The log is the truth.

`Memory` keeps it in the process. `Checkpoint` keeps it in SQLite, so that a worker that starts again folds only what
came since; whatever is wrong with its file, folding the log from its beginning is right.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from passerelle.agents.entry import Entry, pack, unpack

_BUSY_S = 2.0
"""Patience with another process that holds the file's write lock: it writes for milliseconds, or it is stopped."""

_SCHEMA = """
create table if not exists held (subject blob primary key, entries blob not null, at_ms integer not null) without rowid;
create index if not exists held_at on held (at_ms);
create table if not exists fold (one integer primary key check (one = 1), next integer not null, log text not null);
"""
_READ = "select entries from held where subject = ?"
_WRITE = "insert or replace into held values (?, ?, ?)"
_EXPIRE = "delete from held where at_ms < ?"
_FOLDED = "select next from fold where one = 1 and log = ?"
_ADVANCE = "update fold set next = ? where one = 1 and next = ? and log = ?"
_RESET = ("delete from held", "delete from fold")
_BEGIN_FOLD = "insert or ignore into fold values (1, 0, ?)"


class StaleCheckpoint(Exception):
    """Another worker advanced the file since this one read it: this one's partition is no longer its own."""


class State(Protocol):
    """What a worker needs of a store."""

    @property
    def next(self) -> int:
        """Offset of the first record of the log that is not folded in."""

    def get(self, subject: bytes) -> list[Entry]:
        """Entries of a subject, what is not yet committed included."""

    def put(self, subject: bytes, held: list[Entry]) -> None:
        """Replace a subject's entries; kept aside until `commit`."""

    def commit(self, next_: int, horizon_ms: int) -> None:
        """Make what was put, and ``next_``, one step; forget whom nothing newer than ``horizon_ms`` is held of."""

    def rollback(self) -> None:
        """Forget what was put since the last commit."""

    def close(self) -> None:
        """Give back what it holds."""


class Memory:
    """State in the process: gone with it, folded again from the log."""

    def __init__(self) -> None:
        self.next = 0
        self._held: dict[bytes, tuple[int, bytes]] = {}  # in order of the last change, so that expiry reads the front
        self._aside: dict[bytes, tuple[int, bytes]] = {}

    def get(self, subject: bytes) -> list[Entry]:
        """See `State`."""
        found = self._aside.get(subject) or self._held.get(subject)
        return unpack(found[1]) if found else []

    def put(self, subject: bytes, held: list[Entry]) -> None:
        """See `State`."""
        self._aside[subject] = (max(e.at_ms for e in held), pack(held))

    def commit(self, next_: int, horizon_ms: int) -> None:
        """See `State`."""
        for subject, kept in self._aside.items():
            self._held.pop(subject, None)
            self._held[subject] = kept
        self._aside.clear()
        self.next = next_
        while self._held and self._held[first := next(iter(self._held))][0] < horizon_ms:
            del self._held[first]

    def rollback(self) -> None:
        """See `State`."""
        self._aside.clear()

    def close(self) -> None:
        """Nothing to give back."""

    def __len__(self) -> int:
        return len(self._held)


class Checkpoint:
    """State in a SQLite file. No fsync: the log is the truth.

    Two workers on one host may have the same file open, when a paused one lost its partition and does not know yet. A
    commit therefore compares: it advances the file from where this worker last saw it, or raises `StaleCheckpoint` and
    changes nothing. Raises `sqlite3.Error` where the file cannot be used.
    """

    def __init__(self, path: Path, log: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._db = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_S, check_same_thread=False)
        self._log = log
        self._aside: dict[bytes, tuple[int, bytes]] = {}
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = off")
        self._db.executescript(_SCHEMA)
        self.next = self._folded()

    def get(self, subject: bytes) -> list[Entry]:
        """See `State`."""
        if found := self._aside.get(subject):
            return unpack(found[1])
        row = self._db.execute(_READ, (subject,)).fetchone()
        return unpack(row[0]) if row else []

    def put(self, subject: bytes, held: list[Entry]) -> None:
        """See `State`."""
        self._aside[subject] = (max(e.at_ms for e in held), pack(held))

    def commit(self, next_: int, horizon_ms: int) -> None:
        """See `State`. Raises `StaleCheckpoint`, `sqlite3.Error`."""
        self._db.execute("begin immediate")
        try:
            self._advance(next_)
            self._db.executemany(_WRITE, ((s, packed, at) for s, (at, packed) in self._aside.items()))
            self._db.execute(_EXPIRE, (horizon_ms,))
            self._db.execute("commit")
        except BaseException:
            self._db.execute("rollback")
            raise
        self._aside.clear()
        self.next = next_

    def rollback(self) -> None:
        """See `State`."""
        self._aside.clear()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _advance(self, next_: int) -> None:
        if self._db.execute(_ADVANCE, (next_, self.next, self._log)).rowcount != 1:
            raise StaleCheckpoint

    def _folded(self) -> int:
        """Where the file stands; a file of another log (a broker made anew) starts over."""
        row = self._db.execute(_FOLDED, (self._log,)).fetchone()
        if row is None:
            self._db.execute("begin immediate")
            for statement in _RESET:
                self._db.execute(statement)
            self._db.execute(_BEGIN_FOLD, (self._log,))
            self._db.execute("commit")
            return 0
        return int(row[0])


Open = Callable[[str, int], State]
"""(join log, partition) → its state."""


def memory(_log: str, _partition: int) -> State:
    """Every start folds the log from its beginning."""
    return Memory()


def checkpoints(folder: Path, cluster: str) -> Open:
    """Checkpoint files of one Kafka cluster under ``folder``; in memory where a file cannot be had."""

    def open_(log: str, partition: int) -> State:
        path = folder / log / f"{partition}.db"
        try:
            return Checkpoint(path, f"{cluster}/{log}")
        except sqlite3.DatabaseError:
            return Memory()

    return open_
