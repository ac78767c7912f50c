"""What somebody must see to: answers and reviews with a term. Counts, and nothing about anybody."""

from dataclasses import dataclass

import sqlalchemy as sa

from passerelle_consent.records import sql
from passerelle_consent.records.overrides import REVIEW_WITHIN_MS


@dataclass(frozen=True, kw_only=True, slots=True)
class Attention:
    """How much is open, and how much of it is late."""

    reviews_open: int
    reviews_overdue: int
    answers_open: int
    answers_overdue: int


def due(conn: sa.Connection, *, now_ms: int) -> Attention:
    """Count what is due at an instant."""
    reviews = {"before_ms": now_ms - REVIEW_WITHIN_MS}
    return Attention(
        reviews_open=conn.execute(sql.REVIEWS_OPEN).scalar_one(),
        reviews_overdue=conn.execute(sql.REVIEWS_OVERDUE, reviews).scalar_one(),
        answers_open=conn.execute(sql.ANSWERS_OPEN).scalar_one(),
        answers_overdue=conn.execute(sql.ANSWERS_OVERDUE, {"before_ms": now_ms}).scalar_one(),
    )
