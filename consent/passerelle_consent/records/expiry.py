"""What ends by time: consents, and the protection of adults with the last guardianship behind it.

Who gave a consent is told before it ends, in time to renew it. The gate denies a consent at that instant; here it is
recorded, and the citizen told. A protection that is over gives the citizen their voice back (French Civil Code, art.
443), and tells them so.
"""

import sqlalchemy as sa

from passerelle_consent.policy.agreements import Agreement
from passerelle_consent.policy.standing import Actor, Stance, State
from passerelle_consent.records import guardians, notices, saying, sql, standings
from passerelle_consent.records.changes import Asked
from passerelle_consent.records.notices import Code
from passerelle_consent.records.policy_book import PolicyBook
from passerelle_consent.records.ports import NewId, SubjectRef
from passerelle_consent.records.transitions import Action

PER_SWEEP_MAX = 100
"""One transaction of some 100 ms. A city whose consents all end on one day is swept in a night."""

SOON_MS = 30 * 86_400_000
"""How long before its end a citizen is told: time to renew before a sharing stops."""

PRINCIPAL = "consent"
"""Who does it: the service itself."""


def sweep(conn: sa.Connection, *, book: PolicyBook, now_ms: int, new_id: NewId, partitions: int) -> int:
    """Record what has expired, some at a time; return how many, 0 when there is no more.

    A consent to what the book does not know is left: no agreement says whose it was, and the gate denies it.
    """
    at = {"now_ms": now_ms, "known": book.ids(), "limit": PER_SWEEP_MAX}
    over = conn.execute(sql.EXPIRED, at).all()
    for row in over:
        agreement = book.agreement(row.agreement, now_ms)
        asked = _asked(row.ref, agreement.source, now_ms=now_ms, new_id=new_id, partitions=partitions)
        _expire(conn, asked, agreement)
    return len(over)


def remind(conn: sa.Connection, *, book: PolicyBook, now_ms: int, new_id: NewId) -> int:
    """Tell whose consents end soon, once each, some at a time; return how many, 0 when there is no more."""
    soon = {"now_ms": now_ms, "soon_ms": now_ms + SOON_MS, "early_ms": SOON_MS}
    ending = conn.execute(sql.ENDING, {**soon, "known": book.ids(), "limit": PER_SWEEP_MAX}).all()
    for row in ending:
        agreement = book.agreement(row.agreement, now_ms)
        about = {"agreement": agreement.ref, "recipient": agreement.recipient}
        notices.put(conn, new_id(), SubjectRef(row.ref), Code.CONSENT_ENDING, at_ms=now_ms, **about)
        conn.execute(sql.REMINDED, {"of": row.ref, "on": row.agreement, "now_ms": now_ms})
    return len(ending)


def sweep_protections(conn: sa.Connection, *, now_ms: int, new_id: NewId, partitions: int) -> int:
    """Record which protections are over, some at a time; return how many, 0 when there is no more."""
    over = conn.execute(sql.LAPSED, {"now_ms": now_ms, "limit": PER_SWEEP_MAX}).scalars().all()
    for ref in over:
        asked = _asked(ref, guardians.recorder_of(conn, ref), now_ms=now_ms, new_id=new_id, partitions=partitions)
        guardians.lapse(conn, asked)
    return len(over)


def _asked(ref: bytes, department: str, *, now_ms: int, new_id: NewId, partitions: int) -> Asked:
    return Asked(
        id=new_id(),
        ref=SubjectRef(ref),
        department=department,
        principal=PRINCIPAL,
        at_ms=now_ms,
        partitions=partitions,
        by=Actor.OFFICER,
    )


def _expire(conn: sa.Connection, asked: Asked, agreement: Agreement) -> None:
    before = standings.load(conn, asked.ref, asked.at_ms)
    held = before.stances[agreement.id]
    stance = Stance(agreement=agreement.id, state=State.EXPIRED, notice=held.notice, at_ms=asked.at_ms, by=held.by)
    notices.leave(conn, asked, Code.CONSENT_EXPIRED, agreement=agreement.ref, recipient=agreement.recipient)
    saying.stand(conn, asked, agreement, before, stance=stance, action=Action.EXPIRE)
