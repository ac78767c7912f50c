"""What one of two guardians has said where the agreement asks both: it waits for the other."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from passerelle_consent.records import guardians, sql
from passerelle_consent.records.changes import Asked
from passerelle_consent.records.ports import SubjectRef
from passerelle_consent.records.sayable import WAIT_MS


@dataclass(frozen=True, kw_only=True, slots=True)
class Approval:
    """One guardian's consent that waits for another's."""

    agreement: str
    """Its id."""
    guardian: SubjectRef
    notice: int | None
    until_ms: int
    """Until when it waits."""


def completed(conn: sa.Connection, asked: Asked, agreement_id: str, notice: int | None) -> bool:
    """Note this guardian's consent; return whether another guardian in office has given theirs on the same notice."""
    in_office = {r.guardian for r in guardians.of_subject(conn, asked.ref) if r.in_office(asked.at_ms)}
    given = conn.execute(sql.APPROVALS, {"ref": asked.ref, "agreement": agreement_id, "now_ms": asked.at_ms})
    others = [row for row in given if row.guardian != asked.guardian and row.guardian in in_office]
    if any(row.notice == notice for row in others):
        forget(conn, asked, agreement_id)
        return True
    at = {"of": asked.ref, "on": agreement_id, "who": asked.guardian}
    conn.execute(sql.FORGET_APPROVAL, at)
    row = {"ref": asked.ref, "agreement": agreement_id, "guardian": asked.guardian, "notice": notice}
    conn.execute(sql.INSERT_APPROVAL, {**row, "until_ms": asked.at_ms + WAIT_MS})
    return False


def waiting(conn: sa.Connection, ref: SubjectRef, *, now_ms: int) -> Sequence[Approval]:
    """Return what waits for another guardian's word about this subject."""
    rows = conn.execute(sql.WAITING_APPROVALS, {"ref": ref, "now_ms": now_ms})
    return [
        Approval(agreement=row.agreement, guardian=row.guardian, notice=row.notice, until_ms=row.until_ms)
        for row in rows
    ]


def forget(conn: sa.Connection, asked: Asked, agreement_id: str) -> None:
    """Nothing waits any more: it is complete, or somebody has said no."""
    conn.execute(sql.FORGET_APPROVALS, {"of": asked.ref, "on": agreement_id})
