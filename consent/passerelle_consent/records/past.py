"""What stood at a time gone by: a subject's standings, as the changes left them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote

import sqlalchemy as sa

from passerelle_consent.policy.standing import UNKNOWN_SUBJECT, Standing
from passerelle_consent.records import sql
from passerelle_consent.records.ports import SubjectRef
from passerelle_consent.wire import decode_standing

TELLING_MS_MAX = 10_000
"""A link that the gate has not heard of after that: the service says that it is not ready. Earlier, the subject may
still have been unknown at the gate."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Left:
    """What a change left. ``settled_ms``: when it was known to be in effect; None when it is not yet."""

    at_ms: int
    settled_ms: int | None
    standing: Standing


@dataclass(frozen=True, kw_only=True, slots=True)
class Past:
    """One subject's standings, the oldest first."""

    left: tuple[_Left, ...]

    def at(self, now_ms: int) -> list[Standing]:
        """Return what may have stood at the gate at this instant (epoch milliseconds), the likeliest first.

        A change is recorded before the gate applies it, and settled after: in between, what was before may still have
        stood.
        """
        may: list[Standing] = []
        for left in reversed(self.left):
            if left.at_ms <= now_ms:
                may.append(left.standing)
                if left.settled_ms is not None and left.settled_ms <= now_ms:
                    return may
        return [*may, UNKNOWN_SUBJECT]


def past_of(conn: sa.Connection, ref: SubjectRef) -> Past | None:
    """Return a subject's standings; None for a subject whom nobody linked, or who is erased."""
    subject = conn.execute(sql.FIRST_STANDING, {"ref": ref}).one_or_none()
    if subject is None:
        return None
    first = _Left(
        at_ms=subject.linked_at_ms,
        settled_ms=subject.linked_at_ms + TELLING_MS_MAX,
        # An emancipation moves the end of a minority to its own time: before that, it says the same.
        standing=Standing(linked=True, revision=1, minor_until_ms=subject.minor_until_ms),
    )
    later = (
        _Left(at_ms=row.at_ms, settled_ms=row.acknowledged_at_ms, standing=decode_standing(row.standing))
        for row in conn.execute(sql.STANDINGS_LEFT, {"ref": ref})
    )
    return Past(left=(first, *later))


def policy_of(conn: sa.Connection, digest: bytes) -> bytes | None:
    """Return the packed bundle of a policy that was published."""
    packed: bytes | None = conn.scalar(sql.POLICY, {"digest": digest})
    return packed


@contextmanager
def looking_back(url: str) -> Iterator[sa.Connection]:
    """Open the store beside the service, for reading alone: one state of it, and not a byte of it changed."""
    at = sa.make_url(url)
    lite = at.get_backend_name() == "sqlite"
    if lite:
        at = at.set(database=f"file:{quote(at.database or '')}", query={"mode": "ro", "uri": "true"})
    engine = sa.create_engine(at)
    options = {} if lite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    try:
        with engine.connect().execution_options(**options) as conn, conn.begin():
            yield conn
    finally:
        engine.dispose()
