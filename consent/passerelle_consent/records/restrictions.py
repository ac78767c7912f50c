"""Restriction of processing (GDPR Art. 18): nothing is shared but under a later consent, or for vital interests.

Any subject may restrict, and any guardian of record for them: that only takes away. To lift is to give, so it takes the
voice that gives. The city lifts a restriction only after it has told the citizen (Art. 18(3)), so an officer announces
the lifting first.
"""

from dataclasses import replace
from enum import StrEnum

import sqlalchemy as sa

from passerelle_consent.policy.standing import Actor, Standing
from passerelle_consent.records import guardians, notices, problems, sql, standings
from passerelle_consent.records.changes import Asked, Change, record
from passerelle_consent.records.notices import Code
from passerelle_consent.records.problems import Problem
from passerelle_consent.wire import JournalEntry, JournalType

RESTRICTED = "restricted"
LIFTED = "lifted"

TOLD_BEFORE_MS = 7 * 86_400_000
"""How long before its lifting the citizen is told: a letter's way, and time to answer it."""


class Ground(StrEnum):
    """Why processing is restricted (Art. 18(1))."""

    ACCURACY = "18-1-a"
    UNLAWFUL = "18-1-b"
    CLAIMS = "18-1-c"
    OBJECTION = "18-1-d"


def restrict(conn: sa.Connection, asked: Asked, ground: Ground) -> Change:
    """Restrict. Raises `Problem`."""
    before = _standing(conn, asked)
    if before.restricted_since_ms is not None:
        raise Problem(problems.RESTRICTED_ALREADY)
    row = {"ref": asked.ref, "ground": ground.value, "since_ms": asked.at_ms, "lifting_ms": None}
    conn.execute(sql.INSERT_RESTRICTION, row)
    return _changed(conn, asked, replace(before, restricted_since_ms=asked.at_ms), JournalType.RESTRICTED, RESTRICTED)


def announce(conn: sa.Connection, asked: Asked) -> int:
    """Tell the citizen that the restriction is to be lifted; return from when on it may be. Raises `Problem`."""
    before = standings.load(conn, asked.ref, asked.at_ms)
    if before.restricted_since_ms is None:
        raise Problem(problems.NOT_RESTRICTED)
    told: int | None = conn.scalar(sql.LIFTING, {"ref": asked.ref})
    if told is not None:
        return told
    lifting_ms = asked.at_ms + TOLD_BEFORE_MS
    conn.execute(sql.ANNOUNCE_LIFTING, {"of": asked.ref, "lifting_ms": lifting_ms})
    notices.leave(conn, asked, Code.RESTRICTION_TO_BE_LIFTED)
    return lifting_ms


def lift(conn: sa.Connection, asked: Asked) -> Change:
    """Lift. Raises `Problem`."""
    before = _standing(conn, asked)
    if before.restricted_since_ms is None:
        raise Problem(problems.NOT_RESTRICTED)
    if asked.by is not Actor.OFFICER:
        guardians.check_voice(conn, asked, before)
    else:
        lifting_ms = conn.scalar(sql.LIFTING, {"ref": asked.ref})
        if lifting_ms is None or asked.at_ms < lifting_ms:
            raise Problem(problems.LIFTING_NOT_ANNOUNCED)
    conn.execute(sql.DELETE_RESTRICTION, {"of": asked.ref})
    return _changed(conn, asked, replace(before, restricted_since_ms=None), JournalType.LIFTED, LIFTED)


def _standing(conn: sa.Connection, asked: Asked) -> Standing:
    if asked.guardian is not None:
        guardians.check(conn, guardian=asked.guardian, ward=asked.ref, at_ms=asked.at_ms)
    return standings.load(conn, asked.ref, asked.at_ms)


def _changed(conn: sa.Connection, asked: Asked, after: Standing, kind: JournalType, state: str) -> Change:
    after = replace(after, revision=after.revision + 1)
    standings.save_person(conn, asked.ref, after)
    entry = JournalEntry(id=asked.id, type=kind, at_ms=asked.at_ms, subject=asked.ref, department=asked.department)
    said = {"kind": kind.value, "agreement": None, "state": state, "recipient": "", "notice": None}
    fenced = kind is JournalType.RESTRICTED
    return record(conn, asked, after, entry, fenced=fenced, said={**said, "by": asked.by.value})
