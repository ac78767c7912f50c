"""What the service holds about one subject's will: what an export takes along (GDPR Art. 20)."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from passerelle_consent.policy.standing import Standing
from passerelle_consent.records import guardians, notices, overrides, standings
from passerelle_consent.records.guardians import Recorded
from passerelle_consent.records.history import Said, history
from passerelle_consent.records.notices import NEWEST, Notice
from passerelle_consent.records.overrides import Opened
from passerelle_consent.records.ports import SubjectRef

BESIDES_MAX = 500
"""Notices, and overrides: far more than anybody gets in a life; some 400 kB."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """What stood in the store at one instant. Of what comes in parts, and of what is bounded, one more may be there."""

    standing: Standing
    said: Sequence[Said]
    """The newest first."""
    guardianships: Sequence[Recorded] = ()
    overrides: Sequence[Opened] = ()
    notices: Sequence[Notice] = ()


def held(conn: sa.Connection, ref: SubjectRef, *, before: int | None, rows: int, now_ms: int) -> Held:
    """Read at most ``rows`` changes of a revision below ``before``; what does not come in parts, with the first.

    Raises `Problem` unknown-subject.
    """
    standing = standings.load(conn, ref, now_ms)
    said = history(conn, ref=ref, guardian=None, before=before, limit=rows, now_ms=now_ms)
    if before is not None:
        return Held(standing=standing, said=said)
    return Held(
        standing=standing,
        said=said,
        guardianships=guardians.of_subject(conn, ref),
        overrides=overrides.of_subject(conn, ref, before=(NEWEST, b""), limit=BESIDES_MAX + 1),
        notices=notices.newest(conn, ref, before=(NEWEST, b""), limit=BESIDES_MAX + 1),
    )
