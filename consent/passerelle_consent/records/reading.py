"""Who looked: whenever somebody else than the subject reads a subject's data, the ledger says so (DESIGN §8).

Every read is an entry, written in the transaction that reads and on disk before the answer. It costs one outbox row and
some 600 bytes of the log; a bound by the hour would be cheaper, and would hide how often somebody looked.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
import structlog

from passerelle_consent.records import guardians, problems, sql, standings
from passerelle_consent.records.ports import NewId, Principal, Role, SubjectRef
from passerelle_consent.records.problems import Problem
from passerelle_consent.records.standings import Row
from passerelle_consent.records.words import What
from passerelle_consent.wire import JournalEntry, JournalType

HOUR_MS = 3_600_000

AUDITORS_KEPT = 1_000
"""Of those who read the log in this hour. Whoever is forgotten is told of once more."""

T = TypeVar("T")

_log = structlog.get_logger("reading")


class AboutSomebody(Protocol):
    """A row of a list over many people."""

    @property
    def ref(self) -> SubjectRef:
        """Whom it is about."""
        ...


R = TypeVar("R", bound=AboutSomebody)


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
        return partial(_read, script=script, readings=lambda _: [self])

    def row(self) -> Row:
        """Return the entry that tells of it."""
        entry = JournalEntry(
            id=self.id,
            type=JournalType.READ,
            at_ms=self.at_ms,
            subject=self.ref,
            department=self.department,
            reader=self.reader.value,
            what=self.what.value,
            mandate=self.mandate,
        )
        return standings.journal_row(entry, self.partitions)


def of_each(
    script: Callable[[sa.Connection], Sequence[R]], *, shown: int, reading: Callable[[SubjectRef], Reading]
) -> Callable[[sa.Connection], Sequence[R]]:
    """Return a script that lists many people, with an entry for each one of whom something is shown.

    ``shown``: how many rows are; a page's script reads one more to know whether there is a next one.
    """
    return partial(
        _read, script=script, readings=lambda rows: [reading(ref) for ref in dict.fromkeys(r.ref for r in rows[:shown])]
    )


def _read(
    conn: sa.Connection, *, script: Callable[[sa.Connection], T], readings: Callable[[T], Iterable[Reading]]
) -> T:
    read = script(conn)
    standings.tell(conn, [reading.row() for reading in readings(read)])
    return read


class Audits:
    """Of which auditors the ledger was told that they read the log at large: a `read` about nobody.

    One entry for each auditor and hour, on disk before the first answer: a log that grew by a line for each look at it
    would be flooded by being watched. A service that starts again tells once more. Entries name nobody: who it was is
    told by a hash of the principal's name, in the service's own log beside the entry's id.
    """

    def __init__(self, new_id: NewId) -> None:
        self._new_id = new_id
        self._told: OrderedDict[tuple[str, str | None], int] = OrderedDict()
        self._telling = asyncio.Lock()

    async def told(
        self, principal: Principal, at_ms: int, tell: Callable[[JournalEntry], Coroutine[Any, Any, None]]
    ) -> None:
        """Tell, unless this hour's entry of this auditor stands. Raises what ``tell`` raises."""
        who, hour = (principal.name, principal.department), at_ms // HOUR_MS
        async with self._telling:  # whoever asks meanwhile is not answered before it is written
            if self._told.get(who) == hour:
                return
            entry = JournalEntry(id=self._new_id(), type=JournalType.READ, at_ms=at_ms, department=principal.department)
            await tell(entry)
            _log.info("log read", reading=entry.id.hex(), by=hashlib.sha256(principal.name.encode()).hexdigest())
            self._told[who] = hour
            while len(self._told) > AUDITORS_KEPT:
                self._told.popitem(last=False)


def check(conn: sa.Connection, *, ref: SubjectRef, guardian: SubjectRef | None, now_ms: int) -> None:
    """Raise `Problem` for a subject whom nobody linked, and for a guardian who is none."""
    if guardian is not None:
        guardians.check(conn, guardian=guardian, ward=ref, at_ms=now_ms)
    if conn.execute(sql.SUBJECT, {"ref": ref}).first() is None:
        raise Problem(problems.UNKNOWN_SUBJECT)
