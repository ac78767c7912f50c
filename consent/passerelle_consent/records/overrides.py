"""Overrides for vital interests (GDPR Art. 6(1)(d)): an officer, a reason, agreements, 72 hours, and another's review.

An override opens the agreements that it names, and no other one of their recipient. The officer is whoever the token is
of: nobody opens, or reviews, in the name of somebody else.

The citizen is told at once. Within 72 hours another officer says whether it was justified; one that was not ends then.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from passerelle_consent.policy.agreements import Agreement
from passerelle_consent.policy.standing import Actor, Override
from passerelle_consent.records import notices, problems, sql, standings
from passerelle_consent.records.changes import Asked, Change, record
from passerelle_consent.records.notices import Code
from passerelle_consent.records.ports import SubjectRef
from passerelle_consent.records.problems import Problem
from passerelle_consent.wire import JournalEntry, JournalType

OVERRIDE = "override"
REVIEW = "review"
REVIEW_WITHIN_MS = 72 * 3_600_000
"""DESIGN §5."""


class Review(StrEnum):
    """What the second officer found."""

    JUSTIFIED = "justified"
    NOT_JUSTIFIED = "not-justified"


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """An override as it is kept. ``principal`` is the officer's, at the issuer of tokens.

    ``reason_code`` is a code: no words about a person stand here.
    """

    id: bytes
    ref: SubjectRef
    department: str
    principal: str
    agreements: tuple[str, ...]
    """Ids."""
    recipient: str
    reason_code: str
    opened_ms: int
    until_ms: int
    review: str | None
    reviewed_ms: int | None

    @classmethod
    def of(cls, row: sa.Row[Any]) -> "Opened":
        """Read a row of `overrides`."""
        read = {name: getattr(row, name) for name in cls.__slots__}
        return cls(**{**read, "agreements": tuple(row.agreements.split())})

    @property
    def review_due_ms(self) -> int:
        """By when another officer must have looked at it."""
        return self.opened_ms + REVIEW_WITHIN_MS


def open_override(
    conn: sa.Connection, asked: Asked, *, agreements: Sequence[Agreement], reason_code: str, until_ms: int
) -> Change:
    """Open agreements for one subject; all have one recipient (`PolicyBook.vital`). Raises `Problem`."""
    before = standings.load(conn, asked.ref, asked.at_ms)
    opened = [Override(agreement=agreement.id, until_ms=until_ms) for agreement in agreements]
    after = replace(before, revision=before.revision + 1, overrides=(*before.overrides, *opened))
    recipient = agreements[0].recipient
    row = {
        "id": asked.id,
        "ref": asked.ref,
        "department": asked.department,
        "principal": asked.principal,
        "agreements": " ".join(agreement.id for agreement in agreements),
        "recipient": recipient,
        "reason_code": reason_code,
        "opened_ms": asked.at_ms,
        "until_ms": until_ms,
    }
    conn.execute(sql.INSERT_OVERRIDE, row)
    standings.revise(conn, asked.ref, before)
    notices.leave(conn, asked, Code.OVERRIDE_OPENED, recipient=recipient)
    entry = JournalEntry(
        id=asked.id,
        type=JournalType.OVERRIDE,
        at_ms=asked.at_ms,
        subject=asked.ref,
        agreements=tuple(agreement.ref for agreement in agreements),
        recipient=recipient,
        department=asked.department,
    )
    said = {"kind": OVERRIDE, "agreement": None, "state": OVERRIDE, "recipient": recipient, "notice": None}
    return record(conn, asked, after, entry, fenced=False, said={**said, "by": Actor.OFFICER.value})


def find(conn: sa.Connection, override: bytes) -> Opened:
    """Raises `Problem` unknown-override."""
    row = conn.execute(sql.OVERRIDE, {"id": override}).one_or_none()
    if row is None:
        raise Problem(problems.UNKNOWN_OVERRIDE)
    return Opened.of(row)


def of_subject(conn: sa.Connection, ref: SubjectRef, *, before: tuple[int, bytes], limit: int) -> list[Opened]:
    """Return what was opened for a subject, the newest first; ``before`` is the (opening, id) last seen."""
    at = {"ref": ref, "opened_ms": before[0], "id": before[1], "limit": limit}
    return [Opened.of(row) for row in conn.execute(sql.OVERRIDES_OF, at)]


def unreviewed(conn: sa.Connection, *, after: tuple[int, bytes], limit: int) -> list[Opened]:
    """Return what nobody has reviewed, the oldest first; ``after`` is the (opening, id) last seen."""
    at = {"opened_ms": after[0], "id": after[1], "limit": limit}
    return [Opened.of(row) for row in conn.execute(sql.UNREVIEWED, at)]


def review(conn: sa.Connection, asked: Asked, override: bytes, *, outcome: Review) -> Change:
    """Review an override of somebody else's. Raises `Problem`.

    One that was not justified ends now: the fence must pass it.
    """
    opened = find(conn, override)
    if opened.review is not None:
        raise Problem(problems.REVIEWED_ALREADY)
    if asked.principal == opened.principal:
        raise Problem(problems.OWN_OVERRIDE)
    ends = outcome is Review.NOT_JUSTIFIED and asked.at_ms < opened.until_ms
    until_ms = asked.at_ms if ends else opened.until_ms
    said = {"review": outcome.value, "reviewer": asked.principal, "reviewed_ms": asked.at_ms, "until_ms": until_ms}
    conn.execute(sql.REVIEW_OVERRIDE, {"of": override, **said})
    before = standings.load(conn, asked.ref, asked.at_ms)
    standings.revise(conn, asked.ref, before)
    code = Code.OVERRIDE_JUSTIFIED if outcome is Review.JUSTIFIED else Code.OVERRIDE_NOT_JUSTIFIED
    notices.leave(conn, asked, code, recipient=opened.recipient)
    entry = JournalEntry(
        id=asked.id,
        type=JournalType.REVIEWED,
        at_ms=asked.at_ms,
        subject=asked.ref,
        recipient=opened.recipient,
        department=asked.department,
        regarding=override,
    )
    about = {"kind": REVIEW, "agreement": None, "state": outcome.value, "recipient": opened.recipient, "notice": None}
    after = replace(before, revision=before.revision + 1)
    return record(conn, asked, after, entry, fenced=ends, said={**about, "by": Actor.OFFICER.value})
