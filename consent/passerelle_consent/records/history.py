"""What a subject said: their own history, newest first."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from passerelle_consent.records import guardians, problems, sql
from passerelle_consent.records.changes import Change
from passerelle_consent.records.ports import SubjectRef
from passerelle_consent.records.problems import Problem


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """A change, on which notice it was made and who spoke."""

    change: Change
    notice: int | None
    by: str


def history(
    conn: sa.Connection,
    *,
    ref: SubjectRef,
    guardian: SubjectRef | None,
    agreement: str | None = None,
    before: int | None,
    limit: int,
    now_ms: int,
) -> list[Said]:
    """Return at most ``limit`` changes of a revision below ``before``. Raises `Problem` not-guardian.

    ``agreement``: the id of one; None: of all, and what is about none.
    """
    if guardian is not None:
        guardians.check(conn, guardian=guardian, ward=ref, at_ms=now_ms)
    asked = {"ref": ref, "before": before or REVISION_MAX, "limit": limit}
    if agreement is None:
        rows = conn.execute(sql.HISTORY, asked)
    else:
        rows = conn.execute(sql.HISTORY_OF, {**asked, "versions": f"{agreement}@%"})
    return [_said(row) for row in rows]


def one(conn: sa.Connection, *, ref: SubjectRef, change: bytes) -> Said:
    """Return one change of a subject's own history. Raises `Problem` unknown-change."""
    row = conn.execute(sql.CHANGE, {"id": change}).one_or_none()
    if row is None or row.ref != ref:
        raise Problem(problems.UNKNOWN_CHANGE)
    return _said(row)


REVISION_MAX = 2**31 - 1
"""The column's largest: before it is all of them."""


def _said(row: sa.Row[Any]) -> Said:
    return Said(change=Change.of(row), notice=row.notice, by=row.by)
