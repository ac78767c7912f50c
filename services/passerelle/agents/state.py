"""The state of one partition of a join's log: (entries by subject, next offset to fold). The log is the truth.

`Memory` keeps it in the process. `Checkpoint` keeps it in SQLite, so that a worker that starts again folds only what
came since; whatever is wrong with its file, folding the log from its beginning is right.
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
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
_EXPIRED = "select subject, entries from held where at_ms < ? limit ?"
_FORGET = "delete from held where subject = ?"
_FOLDED = "select next from fold where one = 1 and log = ?"
_ADVANCE = "update fold set next = ? where one = 1 and next = ? and log = ?"
_RESET = ("delete from held", "delete from fold")
_BEGIN_FOLD = "insert or ignore into fold values (1, 0, ?)"


_EXPIRED_AT_ONCE = 1_000
"""Bounds what is read at once when a worker was away for long."""


class StaleCheckpoint(Exception):
    """Another worker advanced the file since this one read it: this one's partition is no longer its own."""


class State(Protocol):
    """What a worker needs of a store."""

    @property
    def next(self) -> int:
        """Offset of the first record of the log that is not folded in."""

    def get(self, subject: bytes) -> list[Entry]:
        """Entries of a subject, what is not yet committed included, what is older than the last horizon not."""

    def put(self, subject: bytes, held: list[Entry]) -> None:
        """Replace a subject's entries; kept aside until `commit`."""

    def commit(self, next_: int, horizon_ms: int) -> None:
        """Make what was put, and ``next_``, one step; forget every entry older than ``horizon_ms``."""

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
        self._horizon_ms = 0

    def get(self, subject: bytes) -> list[Entry]:
        """See `State`."""
        found = self._aside.get(subject) or self._held.get(subject)
        return [e for e in unpack(found[1]) if e.at_ms >= self._horizon_ms] if found else []

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
        self._horizon_ms = max(self._horizon_ms, horizon_ms)
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
    """State in a SQLite file. No fsync: the log is the truth. What is forgotten is overwritten (GDPR Art. 17).

    Two workers on one host may have the same file open, when a paused one lost its partition and does not know yet. A
    commit therefore compares: it advances the file from where this worker last saw it, or raises `StaleCheckpoint` and
    changes nothing. Raises `sqlite3.Error` where the file cannot be used.
    """

    def __init__(self, path: Path, log: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._db = _connect(path)
        self._log = log
        self._aside: dict[bytes, tuple[int, bytes]] = {}
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
        self._aside[subject] = (min(e.at_ms for e in held), pack(held))

    def commit(self, next_: int, horizon_ms: int) -> None:
        """See `State`. Raises `StaleCheckpoint`, `sqlite3.Error`."""
        self._db.execute("begin immediate")
        try:
            self._advance(next_)
            self._db.executemany(_WRITE, ((s, packed, at) for s, (at, packed) in self._aside.items()))
            _expire(self._db, horizon_ms)
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


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_S, check_same_thread=False)
    for setting in ("journal_mode = wal", "synchronous = off", "secure_delete = on"):
        db.execute(f"pragma {setting}")
    return db


def _expire(db: sqlite3.Connection, horizon_ms: int) -> None:
    """Forget every entry older than the horizon; ``at_ms`` of a row is that of its oldest."""
    while found := db.execute(_EXPIRED, (horizon_ms, _EXPIRED_AT_ONCE)).fetchall():
        for subject, packed in found:
            if kept := [e for e in unpack(packed) if e.at_ms >= horizon_ms]:
                db.execute(_WRITE, (subject, pack(kept), min(e.at_ms for e in kept)))
            else:
                db.execute(_FORGET, (subject,))


def expire(folder: Path, log: str, horizon_ms: int) -> None:
    """Forget in every checkpoint of a join here what is older than the horizon, and leave nothing of it on disk.

    A checkpoint forgets by itself when its partition moves on. This is for a partition where nothing happens, or that
    another host has now: what a join holds of somebody must have an end all the same. A file that cannot be had for
    the moment is left for the next time.
    """
    for path in sorted((folder / log).glob("*.db")):
        with suppress(sqlite3.Error), closing(_connect(path)) as db:
            db.execute("begin immediate")
            _expire(db, horizon_ms)
            db.execute("commit")
            db.execute("pragma wal_checkpoint(truncate)")


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
