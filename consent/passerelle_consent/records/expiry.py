"""Consents whose time is over. The gate denies them at that instant; here it is recorded, and the citizen told."""

from collections.abc import Callable

import sqlalchemy as sa

from passerelle_consent.policy.agreements import Agreement
from passerelle_consent.policy.standing import Actor, Stance, State
from passerelle_consent.records import notices, saying, sql, standings
from passerelle_consent.records.changes import Asked
from passerelle_consent.records.notices import Code
from passerelle_consent.records.ports import NewId, SubjectRef
from passerelle_consent.records.transitions import Action

PER_SWEEP_MAX = 100
"""One transaction of some 100 ms. A city whose consents all end on one day is swept in a night."""

PRINCIPAL = "consent"
"""Who does it: the service itself."""


def sweep(
    conn: sa.Connection,
    *,
    find: Callable[[str, int], Agreement | None],
    now_ms: int,
    new_id: NewId,
    partitions: int,
) -> int:
    """Record what has expired, some at a time; return how many, 0 when there is no more.

    ``find`` gives the agreement of an id at an instant.
    """
    over = [(row.ref, row.agreement) for row in conn.execute(sql.EXPIRED, {"now_ms": now_ms, "limit": PER_SWEEP_MAX})]
    known = [(ref, agreement) for ref, id_ in over if (agreement := find(id_, now_ms)) is not None]
    for ref, agreement in known:
        asked = Asked(
            id=new_id(),
            ref=SubjectRef(ref),
            department=agreement.source,
            principal=PRINCIPAL,
            at_ms=now_ms,
            partitions=partitions,
            by=Actor.OFFICER,
        )
        _expire(conn, asked, agreement)
    return len(known)


def _expire(conn: sa.Connection, asked: Asked, agreement: Agreement) -> None:
    before = standings.load(conn, asked.ref, asked.at_ms)
    held = before.stances[agreement.id]
    stance = Stance(agreement=agreement.id, state=State.EXPIRED, notice=held.notice, at_ms=asked.at_ms, by=held.by)
    notices.leave(conn, asked, Code.CONSENT_EXPIRED, agreement=agreement.ref, recipient=agreement.recipient)
    saying.stand(conn, asked, agreement, before, stance=stance, action=Action.EXPIRE)
