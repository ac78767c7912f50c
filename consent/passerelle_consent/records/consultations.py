"""Public consultations: a draft agreement, a question, and what a city's people make of it.

A city asks its citizens before it crosses their data. A consultation is published once, as a whole, and never edited:
the draft, the question, the first arguments and the dates. From the day it opens until it closes each signed-in citizen
has one voice (`voices`). When it is closed the voices are counted and the key that told them apart is destroyed; the
department then answers, and the result becomes a leaf of the ledger under its digest.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import rfc8785
import sqlalchemy as sa

from passerelle_consent.records import problems, sql, standings
from passerelle_consent.records.problems import Problem
from passerelle_consent.wire import JournalEntry, JournalType

ARGUMENTS_PER_CONSULTATION_MAX = 5_000
"""What officers can read; beyond it a consultation hears voices only."""

CLOSED_PER_SWEEP_MAX = 20
"""A city holds a handful at a time; each count takes some milliseconds."""


class Outcome(StrEnum):
    """What became of the draft."""

    ADOPTED = "adopted"
    AMENDED = "amended"
    ABANDONED = "abandoned"


class Phase(StrEnum):
    """Where a consultation stands."""

    ANNOUNCED = "announced"
    OPEN = "open"
    CLOSED = "closed"
    ANSWERED = "answered"


class Ruling(StrEnum):
    """What an officer made of an argument. `waiting` until one has read it."""

    WAITING = "waiting"
    PUBLISHED = "published"
    PERSONAL_DATA = "names-a-person"
    INSULTING = "insulting"
    OFF_TOPIC = "off-topic"


@dataclass(frozen=True, kw_only=True, slots=True)
class Announced:
    """A consultation as its department publishes it. ``document`` is plain JSON: what everybody reads, unchanged."""

    id: str
    agreement: str
    """``id@version`` of the draft."""
    department: str
    document: Mapping[str, Any]
    opens_ms: int
    closes_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the department makes of it, in French and in English."""

    outcome: Outcome
    fr: str
    en: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Consultation:
    """A consultation as it is kept."""

    id: str
    agreement: str
    department: str
    document: bytes
    digest: bytes
    opens_ms: int
    closes_ms: int
    published_ms: int
    voice_key: bytes | None
    """Tells one citizen's voice from another's while voices count; destroyed with the closing."""
    supports: int | None = None
    objects: int | None = None
    result: bytes | None = None

    @classmethod
    def of(cls, row: sa.Row[Any]) -> "Consultation":
        """Read a row of `consultations`."""
        return cls(**{name: getattr(row, name) for name in cls.__slots__})

    def phase(self, now_ms: int) -> Phase:
        """Where it stands at an instant (epoch milliseconds)."""
        if self.result is not None:
            return Phase.ANSWERED
        if now_ms >= self.closes_ms:
            return Phase.CLOSED
        return Phase.OPEN if now_ms >= self.opens_ms else Phase.ANNOUNCED


def publish(conn: sa.Connection, announced: Announced, *, at_ms: int, voice_key: bytes) -> Consultation:
    """Publish, once. The same again changes nothing; anything else under this id raises `Problem`."""
    document = rfc8785.dumps(dict(announced.document))
    known = conn.execute(sql.CONSULTATION, {"id": announced.id}).one_or_none()
    if known is not None:
        if known.document != document:
            raise Problem(problems.CONSULTATION_PUBLISHED)
        return Consultation.of(known)
    if announced.opens_ms < at_ms:
        raise Problem(problems.CONSULTATION_IN_THE_PAST)
    opened = Consultation(
        id=announced.id,
        agreement=announced.agreement,
        department=announced.department,
        document=document,
        digest=hashlib.sha256(document).digest(),
        opens_ms=announced.opens_ms,
        closes_ms=announced.closes_ms,
        published_ms=at_ms,
        voice_key=voice_key,
    )
    conn.execute(sql.INSERT_CONSULTATION, {name: getattr(opened, name) for name in Consultation.__slots__})
    return opened


def find(conn: sa.Connection, consultation_id: str) -> Consultation:
    """Raises `Problem` unknown-consultation."""
    row = conn.execute(sql.CONSULTATION, {"id": consultation_id}).one_or_none()
    if row is None:
        raise Problem(problems.UNKNOWN_CONSULTATION)
    return Consultation.of(row)


def newest(conn: sa.Connection, *, before: tuple[int, str] | None, limit: int) -> list[Consultation]:
    """Return consultations by their opening, the latest first; ``before`` is the (opening, id) of the last one seen."""
    opens_ms, id_ = before or (2**62, "")
    rows = conn.execute(sql.CONSULTATIONS, {"opens_ms": opens_ms, "id": id_, "limit": limit})
    return [Consultation.of(row) for row in rows]


def close_due(conn: sa.Connection, *, now_ms: int) -> list[str]:
    """Count and close whatever is over; return which. Voices go, and with their key whoever's they were."""
    due = list(conn.scalars(sql.CONSULTATIONS_DUE, {"now_ms": now_ms, "limit": CLOSED_PER_SWEEP_MAX}))
    for consultation_id in due:
        of = {"of": consultation_id}
        counts = {row.stance: row.voices for row in conn.execute(sql.COUNT_VOICES, of)}
        conn.execute(sql.FORGET_VOICES, of)
        conn.execute(sql.FORGET_AUTHORS, of)
        counted = {"supports": counts.get("support", 0), "objects": counts.get("object", 0)}
        conn.execute(sql.CLOSE_CONSULTATION, {**of, **counted})
    return due


def answer(
    conn: sa.Connection, consultation_id: str, said: Answer, *, entry_id: bytes, at_ms: int, partitions: int
) -> bytes:
    """Answer a consultation that is over; return the result, whose digest the ledger now holds. Raises `Problem`.

    The same answer again returns the same result.
    """
    close_due(conn, now_ms=at_ms)
    held = find(conn, consultation_id)
    if held.result is not None:
        return _same_answer(conn, held, said)
    if held.voice_key is not None:
        raise Problem(problems.CONSULTATION_STILL_OPEN)
    result = rfc8785.dumps(_result_of(conn, held, said))
    conn.execute(sql.ANSWER_CONSULTATION, {"of": consultation_id, "result": result, "answer": _answer_of(said)})
    entry = JournalEntry(
        id=entry_id,
        type=JournalType.CONSULTED,
        at_ms=at_ms,
        agreements=(held.agreement,),
        department=held.department,
        digest=hashlib.sha256(result).digest(),
    )
    standings.tell(conn, [standings.journal_row(entry, partitions)])
    return result


def _same_answer(conn: sa.Connection, held: Consultation, said: Answer) -> bytes:
    if conn.scalar(sql.CONSULTATION_ANSWER, {"of": held.id}) != _answer_of(said) or held.result is None:
        raise Problem(problems.CONSULTATION_ANSWERED)
    return held.result


def _answer_of(said: Answer) -> bytes:
    return rfc8785.dumps({"outcome": said.outcome.value, "fr": said.fr, "en": said.en})


def _result_of(conn: sa.Connection, held: Consultation, said: Answer) -> dict[str, Any]:
    """What is kept for good. Arguments stand in it as they were published, without their authors."""
    published = {"of": held.id, "ruling": Ruling.PUBLISHED.value, "after": 0, "limit": ARGUMENTS_PER_CONSULTATION_MAX}
    arguments = conn.execute(sql.ARGUMENTS, published)
    return {
        "v": 1,
        "consultation": held.id,
        "agreement": held.agreement,
        "department": held.department,
        "published": held.digest.hex(),
        "voices": {"support": held.supports, "object": held.objects},
        "arguments": [{"side": a.side, "language": a.language, "text": a.text} for a in arguments],
        "outcome": said.outcome.value,
        "answer": {"fr": said.fr, "en": said.en},
    }
