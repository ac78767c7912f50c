"""What changes a standing: the transaction scripts. Each runs inside one transaction, and raises before it writes.

They take ids, times and the agreement, and read no clock; `store` runs them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from passerelle_consent.policy.agreements import Agreement
from passerelle_consent.policy.standing import Actor, Override, Stance, Standing, State
from passerelle_consent.records import problems, sql, standings
from passerelle_consent.records.ports import NewId, SubjectRef
from passerelle_consent.records.problems import Problem
from passerelle_consent.records.transitions import Action, IllegalTransition, follow
from passerelle_consent.wire import JournalEntry, JournalType
from passerelle_schemas.topics import partition_of

OVERRIDE = "override"
_JOURNAL_TYPE = {
    Action.GIVE: JournalType.GIVEN,
    Action.REFUSE: JournalType.REFUSED,
    Action.WITHDRAW: JournalType.WITHDRAWN,
    Action.OBJECT: JournalType.OBJECTED,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What every change has: its id, whose it is, who asked and when; and, for repeats, the caller's own key."""

    id: bytes
    ref: SubjectRef
    department: str
    principal: str
    at_ms: int
    idempotency_key: str | None = None
    request: bytes = b""
    """SHA-256 of the request, to tell a repeat from another use of the same key."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A change as recorded."""

    id: bytes
    ref: SubjectRef
    kind: str
    agreement: str | None
    recipient: str
    state: str
    department: str
    revision: int
    at_ms: int
    fenced: bool
    consent_partition: int
    consent_offset: int | None
    acknowledged_at_ms: int | None

    @classmethod
    def of(cls, row: sa.Row[Any]) -> "Change":
        """Read a row of `changes`."""
        return cls(**{name: getattr(row, name) for name in cls.__slots__})

    @property
    def in_effect(self) -> bool:
        """Whether it is acknowledged."""
        return self.acknowledged_at_ms is not None


def say(
    conn: sa.Connection,
    asked: Asked,
    agreement: Agreement,
    action: Action,
    *,
    notice: int | None,
    by: Actor,
    partitions: int,
) -> Change:
    """Give, refuse, withdraw or object. Raises `Problem`; a repeat returns the change that it repeats."""
    repeated = _repeat_of(conn, asked)
    if repeated is not None:
        return repeated
    before = standings.load(conn, asked.ref, asked.at_ms)
    stance = _stance_after(before, agreement, action, notice=notice, by=by, at_ms=asked.at_ms)
    standings.save_stance(conn, asked.ref, before, stance)
    entry = JournalEntry(
        id=asked.id,
        type=_JOURNAL_TYPE[action],
        at_ms=asked.at_ms,
        subject=asked.ref,
        agreements=(agreement.ref,),
        recipient=agreement.recipient,
        department=asked.department,
    )
    after = replace(before, revision=before.revision + 1, stances={**before.stances, stance.agreement: stance})
    recorded = {"kind": action.value, "agreement": agreement.ref, "state": stance.state.value}
    return _record(
        conn,
        asked,
        after,
        entry,
        partitions=partitions,
        fenced=action.takes_away,
        said={**recorded, "recipient": agreement.recipient, "notice": stance.notice, "by": by.value},
    )


def _stance_after(
    before: Standing, agreement: Agreement, action: Action, *, notice: int | None, by: Actor, at_ms: int
) -> Stance:
    held = before.stances.get(agreement.id)
    state = held.state if held else State.UNKNOWN
    try:
        after = follow(state, action, agreement.basis)
    except IllegalTransition as illegal:
        raise Problem(
            problems.ILLEGAL_TRANSITION, state=illegal.state.value, legal=[a.value for a in illegal.legal]
        ) from None
    if notice is None and held is not None:
        notice = held.notice
    return Stance(agreement=agreement.id, state=after, notice=notice, at_ms=at_ms, by=by)


def override(
    conn: sa.Connection,
    asked: Asked,
    *,
    recipient: str,
    officer: str,
    reason_code: str,
    until_ms: int,
    partitions: int,
) -> Change:
    """Vital interests (GDPR Art. 6(1)(d)). Raises `Problem`; a repeat returns the change that it repeats."""
    repeated = _repeat_of(conn, asked)
    if repeated is not None:
        return repeated
    before = standings.load(conn, asked.ref, asked.at_ms)
    opened = Override(recipient=recipient, until_ms=until_ms)
    after = replace(before, revision=before.revision + 1, overrides=(*before.overrides, opened))
    named = {"officer": officer, "reason_code": reason_code}
    conn.execute(
        sql.INSERT_OVERRIDE,
        {"id": asked.id, "ref": asked.ref, "recipient": recipient, "until_ms": until_ms, **named},
    )
    standings.revise(conn, asked.ref, before)
    entry = JournalEntry(
        id=asked.id,
        type=JournalType.OVERRIDE,
        at_ms=asked.at_ms,
        subject=asked.ref,
        recipient=recipient,
        department=asked.department,
    )
    said = {"kind": OVERRIDE, "agreement": None, "state": OVERRIDE, "recipient": recipient, "notice": None}
    said["by"] = Actor.OFFICER.value
    return _record(conn, asked, after, entry, partitions=partitions, fenced=False, said=said)


def link(
    conn: sa.Connection,
    refs: Sequence[SubjectRef],
    *,
    department: str,
    at_ms: int,
    batch: bytes,
    new_id: NewId,
    partitions: int,
) -> bool:
    """Link subjects to a department; what is linked already stays as it is. Returns whether anything was new.

    ``batch`` is settled once the broker has all of it.
    """
    wanted = list(dict.fromkeys(refs))
    linked = set(conn.scalars(sql.LINKED_BY, {"department": department, "refs": wanted}))
    new_links = [ref for ref in wanted if ref not in linked]
    if not new_links:
        return False
    known = set(conn.scalars(sql.KNOWN_SUBJECTS, {"refs": new_links}))
    new_subjects = [ref for ref in new_links if ref not in known]
    if new_subjects:
        conn.execute(sql.INSERT_SUBJECTS, [{"ref": ref, "linked_at_ms": at_ms, "revision": 1} for ref in new_subjects])
    conn.execute(sql.INSERT_LINKS, [{"ref": ref, "department": department, "at_ms": at_ms} for ref in new_links])
    first = Standing(linked=True, revision=1)
    rows = [standings.consent_row(ref, first, partitions) for ref in new_subjects]
    for ref in new_links:
        entry = JournalEntry(id=new_id(), type=JournalType.LINKED, at_ms=at_ms, subject=ref, department=department)
        rows.append(standings.journal_row(entry, partitions))
    rows[-1] = replace(rows[-1], settles=batch)  # rows are sent in order: after the last, all of them are
    standings.tell(conn, rows)
    return True


def find(conn: sa.Connection, change_id: bytes) -> Change | None:
    """Return the change of this id."""
    row = conn.execute(sql.CHANGE, {"id": change_id}).one_or_none()
    return None if row is None else Change.of(row)


def acknowledge(
    conn: sa.Connection, ids: Sequence[bytes], *, now_ms: int, new_id: NewId, partitions: int
) -> list[Change]:
    """Note that the fence has passed these changes, and journal it. Those acknowledged before are left out."""
    fenced = [Change.of(row) for row in conn.execute(sql.UNACKNOWLEDGED, {"ids": list(ids)})]
    if not fenced:
        return []
    conn.execute(sql.ACKNOWLEDGE, {"ids": [c.id for c in fenced], "now_ms": now_ms})
    rows = []
    for change in fenced:
        entry = JournalEntry(
            id=new_id(),
            type=JournalType.FENCED,
            at_ms=now_ms,
            subject=change.ref,
            agreements=() if change.agreement is None else (change.agreement,),
            recipient=change.recipient,
            department=change.department,
            regarding=change.id,
        )
        rows.append(standings.journal_row(entry, partitions))
    standings.tell(conn, rows)
    return [replace(change, acknowledged_at_ms=now_ms) for change in fenced]


def forget_keys(conn: sa.Connection, *, before_ms: int) -> None:
    """Forget the Idempotency-Keys used before then."""
    conn.execute(sql.FORGET_IDEMPOTENT, {"before_ms": before_ms})


def _repeat_of(conn: sa.Connection, asked: Asked) -> Change | None:
    if asked.idempotency_key is None:
        return None
    used = conn.execute(sql.IDEMPOTENT, {"principal": asked.principal, "key": asked.idempotency_key}).one_or_none()
    if used is None:
        return None
    if used.request != asked.request:
        raise Problem(problems.KEY_REUSED)
    return find(conn, used.change)


def _record(
    conn: sa.Connection,
    asked: Asked,
    after: Standing,
    entry: JournalEntry,
    *,
    partitions: int,
    fenced: bool,
    said: dict[str, Any],
) -> Change:
    row = {
        **said,
        "id": asked.id,
        "ref": asked.ref,
        "department": asked.department,
        "principal": asked.principal,
        "revision": after.revision,
        "at_ms": asked.at_ms,
        "fenced": fenced,
        "consent_partition": partition_of(asked.ref, partitions),
        "consent_offset": None,
        "acknowledged_at_ms": None,
    }
    conn.execute(sql.INSERT_CHANGE, row)
    if asked.idempotency_key is not None:
        used = {"principal": asked.principal, "key": asked.idempotency_key, "request": asked.request}
        conn.execute(sql.INSERT_IDEMPOTENT, {**used, "change": asked.id, "at_ms": asked.at_ms})
    consent = standings.consent_row(asked.ref, after, partitions, settles=asked.id, fenced=fenced)
    standings.tell(conn, (standings.journal_row(entry, partitions), consent))
    return Change(**{name: row[name] for name in Change.__slots__})
