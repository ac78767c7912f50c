"""What somebody must see to: answers, reviews and acknowledgements with a term. Counts, and nothing about anybody."""

from dataclasses import dataclass

import sqlalchemy as sa

from passerelle_consent.records import sql
from passerelle_consent.records.erasure import ACKNOWLEDGE_MS_MAX
from passerelle_consent.records.expiry import SOON_MS
from passerelle_consent.records.overrides import REVIEW_WITHIN_MS


@dataclass(frozen=True, kw_only=True, slots=True)
class Attention:
    """How much is open, and how much of it is late."""

    reviews_open: int
    reviews_overdue: int
    answers_open: int
    answers_overdue: int
    erasures_open: int
    """Notices of erasure that a recipient was told and has not acknowledged."""
    erasures_overdue: int
    consents_ending: int
    """Consents whose time is over within `SOON_MS` unless they are renewed."""


def due(conn: sa.Connection, *, now_ms: int) -> Attention:
    """Count what is due at an instant."""
    late = {"told_before_ms": now_ms - ACKNOWLEDGE_MS_MAX}
    soon = {"now_ms": now_ms, "before_ms": now_ms + SOON_MS}
    reviews = {"before_ms": now_ms - REVIEW_WITHIN_MS}
    return Attention(
        reviews_open=conn.execute(sql.REVIEWS_OPEN).scalar_one(),
        reviews_overdue=conn.execute(sql.REVIEWS_OVERDUE, reviews).scalar_one(),
        answers_open=conn.execute(sql.ANSWERS_OPEN).scalar_one(),
        answers_overdue=conn.execute(sql.ANSWERS_OVERDUE, {"before_ms": now_ms}).scalar_one(),
        erasures_open=conn.execute(sql.ACKNOWLEDGEMENTS_MISSING, {"told_before_ms": now_ms}).scalar_one(),
        erasures_overdue=conn.execute(sql.ACKNOWLEDGEMENTS_MISSING, late).scalar_one(),
        consents_ending=conn.execute(sql.CONSENTS_ENDING, soon).scalar_one(),
    )
