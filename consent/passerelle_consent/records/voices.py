"""What a signed-in citizen says in a public consultation: one voice, and an argument for each side.

Nobody sees whose a voice is. It is kept under a tag, the HMAC of the citizen's ref under a key of this consultation
alone: enough to let one citizen have one voice and change it, and nothing that could be joined with another
consultation. No time is kept with it, since times could be set against the log of requests. At the closing the key
goes, the tags with it.

An argument is free text of a citizen, so an officer reads it before everybody does (`moderate`).
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from passerelle_consent.records import consultations, problems, sql
from passerelle_consent.records.consultations import (
    ARGUMENTS_PER_CONSULTATION_MAX,
    Phase,
    Ruling,
)
from passerelle_consent.records.ports import SubjectRef
from passerelle_consent.records.problems import Problem

TAG_BYTES = 16


class Voice(StrEnum):
    """For the draft, or against it."""

    SUPPORT = "support"
    OBJECT = "object"


class Side(StrEnum):
    """Which way an argument speaks."""

    FOR = "for"
    AGAINST = "against"


@dataclass(frozen=True, kw_only=True, slots=True)
class Argument:
    """One argument. ``n`` is its place in the consultation."""

    n: int
    side: Side
    language: str
    text: str
    ruling: Ruling


def raise_voice(conn: sa.Connection, consultation_id: str, ref: SubjectRef, voice: Voice | None, *, at_ms: int) -> None:
    """Give a citizen's voice, change it, or with None take it back. Raises `Problem` unless it is open."""
    at = {"of": consultation_id, "by": _tag(_open(conn, consultation_id, at_ms), ref)}
    conn.execute(sql.TAKE_BACK_VOICE, at)
    if voice is not None:
        conn.execute(sql.INSERT_VOICE, {"consultation": at["of"], "tag": at["by"], "stance": voice.value})


def voice_of(conn: sa.Connection, consultation_id: str, ref: SubjectRef) -> Voice | None:
    """Return the citizen's own voice; None when there is none, or nobody can tell any more. Raises `Problem`."""
    held = consultations.find(conn, consultation_id)
    if held.voice_key is None:
        return None
    stance = conn.scalar(sql.VOICE, {"of": consultation_id, "by": _tag(held.voice_key, ref)})
    return None if stance is None else Voice(stance)


def argue(
    conn: sa.Connection, consultation_id: str, ref: SubjectRef, side: Side, *, language: str, text: str, at_ms: int
) -> int:
    """Put forward an argument, in the place of the one that this citizen had for this side. Return its number.

    A number is never given twice, so that an officer rules on the text that was read and on no other.
    """
    tag = _tag(_open(conn, consultation_id, at_ms), ref)
    conn.execute(sql.FORGET_ARGUMENT, {"of": consultation_id, "by": tag, "on": side.value})
    conn.execute(sql.COUNT_ARGUMENT, {"of": consultation_id})
    n: int = conn.execute(sql.ARGUMENTS_SO_FAR, {"of": consultation_id}).scalar_one()
    if n > ARGUMENTS_PER_CONSULTATION_MAX:
        raise Problem(problems.ENOUGH_ARGUMENTS)
    said = {"side": side.value, "language": language, "text": text, "ruling": Ruling.WAITING.value}
    conn.execute(sql.INSERT_ARGUMENT, {"consultation": consultation_id, "n": n, "tag": tag, **said})
    return n


def arguments(
    conn: sa.Connection, consultation_id: str, ruling: Ruling, *, after: int, limit: int
) -> Sequence[Argument]:
    """Return arguments with this ruling in their order, from the one after number ``after``. Raises `Problem`."""
    consultations.find(conn, consultation_id)
    at = {"of": consultation_id, "ruling": ruling.value, "after": after, "limit": limit}
    return [_argument(row) for row in conn.execute(sql.ARGUMENTS, at)]


def moderate(conn: sa.Connection, consultation_id: str, n: int, ruling: Ruling) -> None:
    """Rule on an argument, until the answer is given: then the published ones are part of the result."""
    if consultations.find(conn, consultation_id).result is not None:
        raise Problem(problems.CONSULTATION_ANSWERED)
    ruled = conn.execute(sql.RULE_ON_ARGUMENT, {"of": consultation_id, "at": n, "ruling": ruling.value})
    if ruled.rowcount != 1:
        raise Problem(problems.UNKNOWN_ARGUMENT)


def forget(conn: sa.Connection, ref: SubjectRef) -> None:
    """Take a person's voices and arguments out of every consultation that can still tell them (GDPR Art. 17)."""
    for row in conn.execute(sql.CONSULTATIONS_WITH_VOICES):
        at = {"of": row.id, "by": _tag(row.voice_key, ref)}
        conn.execute(sql.TAKE_BACK_VOICE, at)
        conn.execute(sql.FORGET_ARGUMENTS, at)


def _open(conn: sa.Connection, consultation_id: str, at_ms: int) -> bytes:
    """Return the key of a consultation that hears voices at this instant. Raises `Problem`."""
    held = consultations.find(conn, consultation_id)
    if held.phase(at_ms) is not Phase.OPEN or held.voice_key is None:
        raise Problem(problems.CONSULTATION_NOT_OPEN)
    return held.voice_key


def _tag(key: bytes, ref: SubjectRef) -> bytes:
    return hmac.digest(key, ref, "sha256")[:TAG_BYTES]


def _argument(row: sa.Row[Any]) -> Argument:
    return Argument(n=row.n, side=Side(row.side), language=row.language, text=row.text, ruling=Ruling(row.ruling))
