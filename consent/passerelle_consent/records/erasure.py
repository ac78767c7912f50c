"""Erasure (GDPR Art. 17): the bus forgets a subject, those who hold copies are told (Art. 19), and the proofs stay.

In this order, each step in one transaction of its own, so that a crash between two leaves the next one to be done:

1. all that this store holds of the subject goes, but for its changes; an `Erasure` goes to `consent`. The answer is a
   change, acknowledged when the fence has passed it;
2. the gate forgets the subject and writes the notices, in the transaction that moves the fence;
3. behind the fence: `erased` is journalled (the ledger destroys the subject's key), a tombstone follows on `consent`,
   and what is left here loses the ref. From then on a department may link the person anew, as somebody unknown.

What the broker still holds goes with its topics' retention: decision record `0003-what-erasure-leaves.md`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Self

import sqlalchemy as sa

from passerelle_consent.records import changes, guardians, problems, sql, standings, voices
from passerelle_consent.records.changes import ERASURE, Asked, Change, noted
from passerelle_consent.records.policy_book import PolicyBook
from passerelle_consent.records.ports import SubjectRef
from passerelle_consent.records.problems import Problem
from passerelle_consent.records.standings import Row
from passerelle_consent.wire import ROLL_KEY, Erasure, JournalEntry, JournalType, encode_erasure
from passerelle_schemas.topics import CONSENT, partition_of

ERASED = "erased"

ACKNOWLEDGE_MS_MAX = 30 * 86_400_000
"""A recipient that has not acknowledged a notice by then stands out (GDPR Art. 12(3): within one month)."""


def erase(conn: sa.Connection, asked: Asked, *, book: PolicyBook, departments: Collection[str]) -> Change:
    """Erase a subject; asking again while it takes effect is asking once. Raises `Problem`.

    ``departments`` are those of this city: nobody else has an inbox.
    """
    if asked.guardian is not None:
        guardians.check(conn, guardian=asked.guardian, ward=asked.ref, at_ms=asked.at_ms)
    asked_before = under_way(conn, [asked.ref])
    if asked_before is not None:
        return asked_before
    before = standings.load(conn, asked.ref, asked.at_ms)
    erasure = Erasure(
        id=asked.id,
        revision=before.revision + 1,
        at_ms=asked.at_ms,
        departments=tuple(sorted(_holders(conn, asked.ref, book) & set(departments))),
    )
    for statement in sql.erasing():
        conn.execute(statement, {"ref": asked.ref})
    voices.forget(conn, asked.ref)
    if erasure.departments:
        conn.execute(sql.INSERT_ERASURES, [{"id": asked.id, "department": d} for d in erasure.departments])
    said = {"kind": ERASURE, "agreement": None, "state": ERASED, "recipient": "", "notice": None, "by": asked.by.value}
    change = noted(conn, asked, revision=erasure.revision, fenced=True, said=said)
    standings.tell(conn, [_consent_row(asked.ref, asked.partitions, encode_erasure(erasure), settles=asked.id)])
    return change


def _holders(conn: sa.Connection, ref: SubjectRef, book: PolicyBook) -> set[str]:
    """Who linked the subject, whom it was about when anything was said, and who receives without being told to."""
    linked = set(conn.scalars(sql.LINKED_DEPARTMENTS, {"ref": ref}))
    spoken_of = set(conn.scalars(sql.RECIPIENTS, {"ref": ref}))
    return linked | spoken_of | book.recipients_unasked()


def under_way(conn: sa.Connection, refs: Sequence[SubjectRef]) -> Change | None:
    """Return an erasure of one of these subjects that the fence has not passed yet."""
    row = conn.execute(sql.ERASURE_UNDER_WAY, {"refs": list(refs)}).first()
    return None if row is None else Change.of(row)


def refuse_while_under_way(conn: sa.Connection, refs: Sequence[SubjectRef]) -> None:
    """Raise `Problem` when one of these subjects is being erased: what begins now must not end with it."""
    if under_way(conn, refs) is not None:
        raise Problem(problems.ERASURE_UNDER_WAY)


def acknowledge(conn: sa.Connection, ids: Sequence[bytes], *, now_ms: int, partitions: int) -> list[Change]:
    """`changes.acknowledge`, and the end of those that are erasures."""
    done = changes.acknowledge(conn, ids, now_ms=now_ms, partitions=partitions)
    for change in done:
        if change.kind == ERASURE and change.ref is not None:
            _complete(conn, change.id, change.ref, change.department, now_ms=now_ms, partitions=partitions)
    return done


def _complete(
    conn: sa.Connection, erasure: bytes, ref: SubjectRef, department: str, *, now_ms: int, partitions: int
) -> None:
    entry = JournalEntry(id=erasure, type=JournalType.ERASED, at_ms=now_ms, subject=ref, department=department)
    standings.tell(conn, (standings.journal_row(entry, partitions), _consent_row(ref, partitions, None)))
    conn.execute(sql.NOTIFIED, {"of": erasure, "now_ms": now_ms})
    for statement in (sql.FORGET_KEYS_OF, sql.FORGET_CHANGES_OF, sql.STRIP_ERASURE):
        conn.execute(statement, {"whose": ref, "but": erasure})


def _consent_row(ref: SubjectRef, partitions: int, value: bytes | None, settles: bytes | None = None) -> Row:
    partition, fenced = partition_of(ref, partitions), settles is not None
    return Row(topic=CONSENT, partition=partition, key=ref, value=value, settles=settles, fenced=fenced)


def roll(conn: sa.Connection, *, now_ms: int, every_ms: int, partitions: int) -> bool:
    """Append to each partition of `consent` what says nothing, when that is due. Returns whether it was.

    Kafka closes a segment only when something is appended, and compacts closed ones only: without this, what an erased
    subject last said would stay on a quiet partition for as long as it is quiet.
    """
    last_ms = conn.scalar(sql.LAST_ROLL)
    if last_ms is None:
        conn.execute(sql.FIRST_ROLL, {"at_ms": now_ms})
    if last_ms is None or now_ms < last_ms + every_ms:
        return False
    conn.execute(sql.ROLLED, {"now_ms": now_ms})
    standings.tell(conn, (Row(topic=CONSENT, partition=p, key=ROLL_KEY, value=None) for p in range(partitions)))
    return True


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """What one recipient was told, and whether it says that its copies are gone. About nobody: it holds no ref."""

    id: bytes
    department: str
    notified_at_ms: int | None
    """When the notice stood in its inbox; None while the erasure takes effect."""
    acknowledged_at_ms: int | None

    @classmethod
    def of(cls, row: sa.Row[Any]) -> Self:
        """Read a row of `erasures`."""
        return cls(**{name: getattr(row, name) for name in cls.__slots__})

    @property
    def due_at_ms(self) -> int | None:
        """By when an acknowledgement is due."""
        return None if self.notified_at_ms is None else self.notified_at_ms + ACKNOWLEDGE_MS_MAX

    def overdue(self, now_ms: int) -> bool:
        """Whether it stands out."""
        return self.acknowledged_at_ms is None and self.due_at_ms is not None and self.due_at_ms < now_ms


def confirm(conn: sa.Connection, *, erasure: bytes, department: str, now_ms: int) -> Notice:
    """Note that a recipient's copies are gone, or kept for a ground of Art. 17(3); once, however often it is said.

    Raises `Problem` unknown-erasure, also for an erasure that others were told of.
    """
    conn.execute(sql.CONFIRM, {"of": erasure, "whose": department, "now_ms": now_ms})
    row = conn.execute(sql.ERASURE_NOTICE, {"id": erasure, "department": department}).one_or_none()
    if row is None:
        raise Problem(problems.UNKNOWN_ERASURE)
    return Notice.of(row)


def told(conn: sa.Connection, *, erasure: bytes) -> list[Notice]:
    """Return the notices of one erasure."""
    return [Notice.of(row) for row in conn.execute(sql.ERASURE_NOTICES_OF, {"id": erasure})]


def notices(
    conn: sa.Connection, *, after: tuple[bytes, str], limit: int, overdue_at_ms: int | None = None
) -> list[Notice]:
    """Return what recipients were told, by erasure and department, those behind ``after``.

    With ``overdue_at_ms`` only those that nobody had acknowledged in time by then.
    """
    found = {"id": after[0], "department": after[1], "most": limit}
    if overdue_at_ms is None:
        return [Notice.of(row) for row in conn.execute(sql.ERASURE_NOTICES, found)]
    told_before_ms = overdue_at_ms - ACKNOWLEDGE_MS_MAX
    return [Notice.of(row) for row in conn.execute(sql.OVERDUE_NOTICES, {**found, "told_before_ms": told_before_ms})]
