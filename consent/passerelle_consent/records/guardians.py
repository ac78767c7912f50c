"""Guardians of record: who speaks for a minor or a protected adult, on what evidence, from when until when.

An officer records a guardianship from a civil record or a judgment, and names that record; no text about people stands
here. What a guardian may then say is decided by `policy.voice`. Parental authority and a minor's guardianship end at
majority or emancipation by themselves (French Civil Code, art. 371-1, 393, 413-7).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from passerelle_consent.policy.agreements import Agreement, SubjectClass
from passerelle_consent.policy.standing import Protection, Standing
from passerelle_consent.policy.voice import (
    Guardianship,
    Relation,
    Voice,
    voice_of_guardian,
    voice_of_guardian_as_a_whole,
    voice_of_subject,
    voice_of_subject_as_a_whole,
)
from passerelle_consent.records import notices, problems, sql, standings
from passerelle_consent.records.changes import Asked, Change, record
from passerelle_consent.records.notices import Code
from passerelle_consent.records.ports import SubjectRef
from passerelle_consent.records.problems import Problem
from passerelle_consent.wire import JournalEntry, JournalType

GUARDIAN = "guardian"
EMANCIPATION = "emancipation"
PER_SUBJECT_MAX = 16
"""Of record at a time, those that are over included: parents, tutors and curators of a lifetime."""

_PROTECTION = {Relation.CURATOR: Protection.ASSISTANCE, Relation.TUTOR: Protection.REPRESENTATION}


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """A guardianship as it is kept. ``evidence`` is the reference of a record or judgment."""

    id: bytes
    ref: SubjectRef
    guardian: SubjectRef
    relation: Relation
    evidence: str
    first_ms: int
    end_ms: int | None
    department: str

    @classmethod
    def of(cls, row: sa.Row[Any]) -> "Recorded":
        """Read a row of `guardianships`."""
        read = {name: getattr(row, name) for name in cls.__slots__}
        return cls(**{**read, "relation": Relation(row.relation)})

    @property
    def guardianship(self) -> Guardianship:
        """What the policy needs of it."""
        return Guardianship(relation=self.relation, first_ms=self.first_ms, end_ms=self.end_ms)

    def in_office(self, now_ms: int) -> bool:
        """Whether it is valid at an instant."""
        return self.first_ms <= now_ms and not self.over(now_ms)

    def over(self, now_ms: int) -> bool:
        """Whether it has ended by an instant."""
        return self.end_ms is not None and self.end_ms <= now_ms


@dataclass(frozen=True, kw_only=True, slots=True)
class Ward:
    """Somebody for whom a guardian is in office."""

    recorded: Recorded
    minor_until_ms: int | None
    """Of a minor; the office may end before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Appointment:
    """A guardianship to be recorded. Times are epoch milliseconds, [first, end)."""

    guardian: SubjectRef
    relation: Relation
    evidence: str
    first_ms: int
    end_ms: int | None


def of_subject(conn: sa.Connection, ref: SubjectRef) -> list[Recorded]:
    """Return every guardianship of record of a subject, the newest first."""
    return [Recorded.of(row) for row in conn.execute(sql.GUARDIANSHIPS, {"ref": ref})]


def wards_of(conn: sa.Connection, guardian: SubjectRef, now_ms: int) -> list[Ward]:
    """Return those for whom this person is in office."""
    found = conn.execute(sql.WARDS, {"guardian": guardian})
    held = [Ward(recorded=Recorded.of(row), minor_until_ms=row.minor_until_ms) for row in found]
    return [ward for ward in held if ward.recorded.in_office(now_ms)]


def check(conn: sa.Connection, *, guardian: SubjectRef, ward: SubjectRef, at_ms: int) -> None:
    """Raise `Problem` not-guardian or guardianship-over unless a guardianship is on record and valid at that time."""
    _office(of_subject(conn, ward), guardian, at_ms)


def voice(conn: sa.Connection, asked: Asked, agreement: Agreement, standing: Standing, *, gives: bool) -> Voice:
    """Tell whether whoever asks is heard about this agreement, alone or together. Raises `Problem` when not."""
    if asked.guardian is None:
        heard = voice_of_subject(agreement, standing, asked.at_ms, gives=gives)
    else:
        recorded = of_subject(conn, asked.ref)
        own = _office(recorded, asked.guardian, asked.at_ms)
        others = [r.guardianship for r in recorded if r.guardian != asked.guardian]
        heard = voice_of_guardian(agreement, standing, own.guardianship, asked.at_ms, gives=gives, others=others)
    if not heard.heard:
        raise Problem(problems.CANNOT_SPEAK, why=heard.value)
    return heard


def check_voice(conn: sa.Connection, asked: Asked, standing: Standing) -> None:
    """Raise `Problem` unless whoever asks is heard about all of the subject's data, no agreement named."""
    if asked.guardian is None:
        heard = voice_of_subject_as_a_whole(standing, asked.at_ms)
    else:
        own = _office(of_subject(conn, asked.ref), asked.guardian, asked.at_ms)
        heard = voice_of_guardian_as_a_whole(standing, own.guardianship, asked.at_ms)
    if not heard.heard:
        raise Problem(problems.CANNOT_SPEAK, why=heard.value)


def _office(recorded: Sequence[Recorded], guardian: SubjectRef, at_ms: int) -> Recorded:
    own = [r for r in recorded if r.guardian == guardian]
    if not own:
        raise Problem(problems.NOT_GUARDIAN)
    valid = [r for r in own if r.in_office(at_ms)]
    if not valid:
        raise Problem(problems.GUARDIANSHIP_OVER)
    return valid[0]


def appoint(conn: sa.Connection, asked: Asked, appointment: Appointment) -> Change:
    """Record a guardianship; an adult's protection follows from it. Raises `Problem`.

    A minor's guardianship ends at majority at the latest.
    """
    before = standings.load(conn, asked.ref, asked.at_ms)
    minor = before.class_at(asked.at_ms) is SubjectClass.MINOR
    _check_appointment(conn, asked, appointment, minor=minor)
    ends = [end for end in (appointment.end_ms, before.minor_until_ms if minor else None) if end is not None]
    row = {
        "id": asked.id,
        "ref": asked.ref,
        "guardian": appointment.guardian,
        "relation": appointment.relation.value,
        "evidence": appointment.evidence,
        "first_ms": appointment.first_ms,
        "end_ms": min(ends, default=None),
        "department": asked.department,
        "principal": asked.principal,
    }
    conn.execute(sql.INSERT_GUARDIANSHIP, row)
    return _recorded(conn, asked, _protected(conn, asked, before), GUARDIAN, "recorded")


def _check_appointment(conn: sa.Connection, asked: Asked, appointment: Appointment, *, minor: bool) -> None:
    if appointment.guardian == asked.ref:
        raise Problem(problems.OWN_GUARDIAN)
    if conn.scalar(sql.IS_KNOWN, {"ref": appointment.guardian}) is None:
        raise Problem(problems.UNKNOWN_GUARDIAN)
    fitting = (Relation.PARENT, Relation.TUTOR) if minor else (Relation.TUTOR, Relation.CURATOR)
    if appointment.relation not in fitting:
        raise Problem(problems.WRONG_RELATION, legal=[relation.value for relation in fitting])
    if appointment.end_ms is not None and appointment.end_ms <= appointment.first_ms:
        raise Problem(problems.MALFORMED, errors=[{"where": ["body", "until"], "what": "not after its beginning"}])
    if len(of_subject(conn, asked.ref)) >= PER_SUBJECT_MAX:
        raise Problem(problems.TOO_MANY_GUARDIANS)


def dismiss(conn: sa.Connection, asked: Asked, guardianship: bytes) -> Change:
    """End a guardianship now; with the last one an adult's protection ends. Raises `Problem`."""
    before = standings.load(conn, asked.ref, asked.at_ms)
    recorded = {r.id: r for r in of_subject(conn, asked.ref)}
    if guardianship not in recorded:
        raise Problem(problems.UNKNOWN_GUARDIANSHIP)
    if recorded[guardianship].over(asked.at_ms):
        raise Problem(problems.GUARDIANSHIP_OVER)
    conn.execute(sql.END_GUARDIANSHIP, {"of": guardianship, "end_ms": asked.at_ms})
    after = _protected(conn, asked, before)
    return _recorded(conn, asked, after, GUARDIAN, "ended", regarding=guardianship)


def lapse(conn: sa.Connection, asked: Asked) -> Change:
    """Record that a guardianship's term has ended the protection, or left a weaker one, and tell the citizen."""
    after = _protected(conn, asked, standings.load(conn, asked.ref, asked.at_ms))
    notices.leave(conn, asked, Code.PROTECTION_OVER if after.protection is None else Code.PROTECTION_EASED)
    return _recorded(conn, asked, after, GUARDIAN, "ended")


def recorder_of(conn: sa.Connection, ref: SubjectRef) -> str:
    """Return the department that recorded the newest guardianship; "" where none is of record."""
    return next((recorded.department for recorded in of_subject(conn, ref)), "")


def _protected(conn: sa.Connection, asked: Asked, before: Standing) -> Standing:
    """Return the next standing: an adult is protected as the strongest guardianship that is not over has it.

    One that has not begun counts: nothing is given in its last days that the guardian would have to undo.
    """
    after = replace(before, revision=before.revision + 1)
    if before.class_at(asked.at_ms) is SubjectClass.MINOR:
        return after
    relations = {r.relation for r in of_subject(conn, asked.ref) if not r.over(asked.at_ms)}
    strongest = next((_PROTECTION[r] for r in (Relation.TUTOR, Relation.CURATOR) if r in relations), None)
    return replace(after, protection=strongest)


def emancipate(conn: sa.Connection, asked: Asked) -> Change:
    """End a minority by a judgment or a marriage (French Civil Code, art. 413-1 ff.). Raises `Problem`."""
    before = standings.load(conn, asked.ref, asked.at_ms)
    if before.class_at(asked.at_ms) is not SubjectClass.MINOR:
        raise Problem(problems.NO_MINOR)
    conn.execute(sql.END_GUARDIANSHIPS, {"of": asked.ref, "end_ms": asked.at_ms})
    after = replace(before, revision=before.revision + 1, minor_until_ms=asked.at_ms)
    return _recorded(conn, asked, after, EMANCIPATION, "adult")


def _recorded(
    conn: sa.Connection, asked: Asked, after: Standing, kind: str, state: str, *, regarding: bytes | None = None
) -> Change:
    """Whom an agreement covers changes with it, so it may take away: the fence must pass it."""
    standings.save_person(conn, asked.ref, after)
    entry = JournalEntry(
        id=asked.id,
        type=JournalType.GUARDIAN,
        at_ms=asked.at_ms,
        subject=asked.ref,
        department=asked.department,
        regarding=regarding,
    )
    said = {"kind": kind, "agreement": None, "state": state, "recipient": "", "notice": None, "by": asked.by.value}
    return record(conn, asked, after, entry, fenced=True, said=said)
