"""Objections (GDPR Art. 21) and their answers. The sharing pauses at once; an answer is due within a month.

An objection is moot once the agreement rests on a basis that cannot be objected to, as when a later version asks for
consent: no answer could follow, so it is closed, and the citizen told.

The answer either upholds the objection, and the sharing is over for this citizen, or names a compelling ground by its
code and the law behind it (Art. 21(1)), and the sharing goes on. An answered objection is not answered again; a sharing
that goes on can be objected to again.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from passerelle_consent.policy.agreements import Agreement
from passerelle_consent.policy.days import end_ms
from passerelle_consent.policy.standing import Actor, Stance
from passerelle_consent.records import notices, problems, sql, standings
from passerelle_consent.records.changes import Asked, Change, record
from passerelle_consent.records.notices import Code
from passerelle_consent.records.policy_book import PolicyBook
from passerelle_consent.records.ports import NewId, SubjectRef
from passerelle_consent.records.problems import Problem
from passerelle_consent.records.transitions import Action, IllegalTransition, follow, like
from passerelle_consent.wire import JournalEntry, JournalType

ANSWER_WITHIN = "P1M"
"""GDPR Art. 12(3)."""


MOOT = "moot"
CLOSED_PER_SWEEP_MAX = 100
"""One transaction of some 50 ms."""


class Finding(StrEnum):
    """What the department answers."""

    UPHELD = "upheld"
    RESUMED = "resumed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Objection:
    """An objection. ``ground`` and ``law``: of the answer that lets the sharing go on."""

    id: bytes
    ref: SubjectRef
    agreement: str
    """``id@version`` as it was objected to."""
    department: str
    """The source, which answers."""
    made_ms: int
    due_ms: int
    outcome: str | None
    """A `Finding`, or `MOOT`."""
    ground: str | None
    law: str | None
    answered_ms: int | None

    @classmethod
    def of(cls, row: sa.Row[Any]) -> "Objection":
        """Read a row of `objections`."""
        return cls(**{name: getattr(row, name) for name in cls.__slots__})

    def overdue(self, now_ms: int) -> bool:
        """Whether its answer is late."""
        return self.answered_ms is None and self.due_ms <= now_ms


def open_(conn: sa.Connection, asked: Asked, agreement: Agreement) -> None:
    """Note an objection that is being made, under the id of its change."""
    conn.execute(
        sql.INSERT_OBJECTION,
        {
            "id": asked.id,
            "ref": asked.ref,
            "agreement": agreement.ref,
            "department": agreement.source,
            "made_ms": asked.at_ms,
            "due_ms": end_ms(asked.at_ms, ANSWER_WITHIN),
        },
    )


def find(conn: sa.Connection, objection: bytes, department: str) -> Objection:
    """Return an objection that this department answers. Raises `Problem` unknown-objection."""
    row = conn.execute(sql.OBJECTION, {"id": objection}).one_or_none()
    if row is None or row.department != department:
        raise Problem(problems.UNKNOWN_OBJECTION)
    return Objection.of(row)


def unanswered(conn: sa.Connection, department: str, *, after: tuple[int, bytes], limit: int) -> list[Objection]:
    """Return what a department is still to answer, the most urgent first; ``after`` is the (due, id) last seen."""
    at = {"department": department, "due_ms": after[0], "id": after[1], "limit": limit}
    return [Objection.of(row) for row in conn.execute(sql.UNANSWERED, at)]


def answer(
    conn: sa.Connection,
    asked: Asked,
    objection: Objection,
    agreement: Agreement,
    outcome: Finding,
    *,
    ground: str | None,
    law: str | None,
) -> Change:
    """Answer an objection. Raises `Problem`.

    To resume needs a ground and its law; both are codes and references, never words about a person.
    """
    if find(conn, objection.id, objection.department).answered_ms is not None:  # since it was read, too
        raise Problem(problems.OBJECTION_ANSWERED)
    resumes = outcome is Finding.RESUMED
    if resumes != (ground is not None and law is not None):
        raise Problem(problems.GROUND_NEEDED)
    before = standings.load(conn, asked.ref, asked.at_ms)
    held = before.stances.get(agreement.id)
    if held is None:
        raise Problem(problems.UNKNOWN_OBJECTION)
    action = Action.RESUME if resumes else Action.UPHOLD
    stance = _stance(held, agreement, action, asked)
    said = {"outcome": outcome.value, "ground": ground, "law": law, "answered_ms": asked.at_ms}
    conn.execute(sql.ANSWER_OBJECTION, {"of": objection.id, **said})
    standings.save_stance(conn, asked.ref, before, stance)
    code = Code.OBJECTION_RESUMED if resumes else Code.OBJECTION_UPHELD
    notices.leave(conn, asked, code, agreement=agreement.ref, recipient=agreement.recipient)
    entry = JournalEntry(
        id=asked.id,
        type=JournalType.ANSWERED,
        at_ms=asked.at_ms,
        subject=asked.ref,
        agreements=(agreement.ref,),
        recipient=agreement.recipient,
        department=asked.department,
        regarding=objection.id,
    )
    after = replace(before, revision=before.revision + 1, stances={**before.stances, stance.agreement: stance})
    recorded = {"kind": action.value, "agreement": agreement.ref, "state": stance.state.value, "notice": None}
    about = {**recorded, "recipient": agreement.recipient, "by": Actor.OFFICER.value}
    return record(conn, asked, after, entry, fenced=False, said=about)


def close_moot(conn: sa.Connection, *, book: PolicyBook, now_ms: int, new_id: NewId, partitions: int) -> int:
    """Close what needs no answer any more, some at a time; return how many, 0 when there is no more."""
    moot = {ref: found for ref in conn.scalars(sql.OBJECTED) if (found := _moot(book, ref, now_ms)) is not None}
    if not moot:
        return 0
    closing = conn.execute(sql.OPEN_OBJECTIONS, {"agreements": list(moot), "limit": CLOSED_PER_SWEEP_MAX}).all()
    for row in closing:
        _close(conn, Objection.of(row), moot[row.agreement], now_ms=now_ms, ident=new_id(), partitions=partitions)
    return len(closing)


def _moot(book: PolicyBook, ref: str, now_ms: int) -> Agreement | None:
    """Return the version in force, if it is one that nobody can object to."""
    current = book.find(ref.partition("@")[0], now_ms)
    return None if current is None or current.basis.can_be_objected else current


def _close(
    conn: sa.Connection, objection: Objection, current: Agreement, *, now_ms: int, ident: bytes, partitions: int
) -> None:
    said = {"outcome": MOOT, "ground": None, "law": None, "answered_ms": now_ms}
    conn.execute(sql.ANSWER_OBJECTION, {"of": objection.id, **said})
    about = {"agreement": current.ref, "recipient": current.recipient}
    notices.put(conn, ident, objection.ref, Code.OBJECTION_MOOT, at_ms=now_ms, **about)
    entry = JournalEntry(
        id=ident,
        type=JournalType.ANSWERED,
        at_ms=now_ms,
        subject=objection.ref,
        agreements=(current.ref,),
        recipient=current.recipient,
        department=objection.department,
        regarding=objection.id,
    )
    standings.tell(conn, [standings.journal_row(entry, partitions)])


def _stance(held: Stance, agreement: Agreement, action: Action, asked: Asked) -> Stance:
    try:
        state = follow(held.state, action, agreement.basis)
    except IllegalTransition as illegal:  # a later version rests on consent, and the citizen has said so
        raise Problem(
            problems.ILLEGAL_TRANSITION, state=illegal.state.value, legal=like(action, illegal.legal)
        ) from None
    return replace(held, state=state, at_ms=asked.at_ms, by=Actor.OFFICER)
