"""What was asked under which Idempotency-Key: a file, so that a service that starts again still knows.

A key without an answer belongs to a request that is under way, or that a crash cut off: the latter is done again, and
since a key makes its event ids, its events are the same ones on the bus.
"""

import hashlib
import sqlite3
from pathlib import Path

KEPT_MS = 24 * 3_600_000
"""Longer than any client repeats a request."""
KEYS_MAX = 2_000_000
"""Some 400 MB; the oldest go first. A department at its full rate uses as many in three hours."""
SWEEP_EVERY = 10_000
"""Requests between two sweeps: a sweep looks at an index, and takes milliseconds."""

_TABLE = """
CREATE TABLE IF NOT EXISTS repeat (key BLOB PRIMARY KEY, request BLOB NOT NULL, at_ms INTEGER NOT NULL, answer TEXT)
"""
_AGE = "CREATE INDEX IF NOT EXISTS repeat_age ON repeat (at_ms)"
_CRAMPED = "DELETE FROM repeat WHERE at_ms < (SELECT at_ms FROM repeat ORDER BY at_ms DESC LIMIT 1 OFFSET ?)"


class OtherRequest(Exception):
    """The key was used for another request."""


class UnderWay(Exception):
    """The same request is being answered just now."""


class Repeats:
    """Used from one thread. `close` in the end."""

    def __init__(self, file: Path | str) -> None:
        """``file`` may be ``:memory:``, in tests."""
        self._db = sqlite3.connect(file, isolation_level=None)
        # Lost with the machine's power, the last requests are done again under their keys, with the same event ids.
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute(_TABLE)
        self._db.execute(_AGE)
        self._begun = 0
        self._under_way: set[bytes] = set()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def begin(self, key: str, request: bytes, now_ms: int) -> str | None:
        """Return the answer when there is one; else the request is under way until `end`.

        Raises `OtherRequest`, `UnderWay`.
        """
        held = _held(key)
        if held in self._under_way:
            raise UnderWay
        self._sweep(now_ms)
        asked = hashlib.sha256(request).digest()
        self._db.execute("INSERT OR IGNORE INTO repeat VALUES (?, ?, ?, NULL)", (held, asked, now_ms))
        before, answer = self._db.execute("SELECT request, answer FROM repeat WHERE key = ?", (held,)).fetchone()
        if before != asked:
            raise OtherRequest
        if answer is None:
            self._under_way.add(held)
            return None
        return str(answer)

    def end(self, key: str, answer: str | None) -> None:
        """Keep the answer; None when the request failed and may be sent again."""
        held = _held(key)
        self._under_way.discard(held)
        if answer is not None:
            self._db.execute("UPDATE repeat SET answer = ? WHERE key = ?", (answer, held))

    def _sweep(self, now_ms: int) -> None:
        if self._begun % SWEEP_EVERY == 0:
            self._db.execute("DELETE FROM repeat WHERE at_ms < ?", (now_ms - KEPT_MS,))
            self._db.execute(_CRAMPED, (KEYS_MAX,))
        self._begun += 1


def _held(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
