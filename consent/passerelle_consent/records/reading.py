"""Who looked: whenever somebody else than the subject reads a subject's data, the ledger says so (DESIGN §8).

Every read is an entry, written in the transaction that reads and on disk before the answer. It costs one outbox row and
some 600 bytes of the log; a bound by the hour would be cheaper, and would hide how often somebody looked.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import sqlalchemy as sa

from passerelle_consent.records import guardians, problems, sql, standings
from passerelle_consent.records.ports import Role, SubjectRef
from passerelle_consent.records.problems import Problem
from passerelle_consent.records.words import What
from passerelle_consent.wire import JournalEntry, JournalType

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """One look at a subject's data by somebody else."""

    id: bytes
    ref: SubjectRef
    reader: Role
    department: str | None
    what: What
    mandate: str | None
    at_ms: int
    partitions: int

    def of(self, script: Callable[[sa.Connection], T]) -> Callable[[sa.Connection], T]:
        """Return the script with the entry that tells of it. A script that refuses reads nothing, and tells nothing."""
        return partial(_read, script=script, reading=self)


def _read(conn: sa.Connection, *, script: Callable[[sa.Connection], T], reading: Reading) -> T:
    read = script(conn)
    entry = JournalEntry(
        id=reading.id,
        type=JournalType.READ,
        at_ms=reading.at_ms,
        subject=reading.ref,
        department=reading.department,
        reader=reading.reader.value,
        what=reading.what.value,
        mandate=reading.mandate,
    )
    standings.tell(conn, [standings.journal_row(entry, reading.partitions)])
    return read


def check(conn: sa.Connection, *, ref: SubjectRef, guardian: SubjectRef | None, now_ms: int) -> None:
    """Raise `Problem` for a subject whom nobody linked, and for a guardian who is none."""
    if guardian is not None:
        guardians.check(conn, guardian=guardian, ward=ref, at_ms=now_ms)
    if conn.execute(sql.SUBJECT, {"ref": ref}).first() is None:
        raise Problem(problems.UNKNOWN_SUBJECT)
