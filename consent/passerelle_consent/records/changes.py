"""A change of a standing as recorded: what every transaction script begins and ends with.

A script runs inside one transaction and raises before it writes. It takes ids, times and what the policy says, and
reads no clock; `store` runs it. One module for each matter: `saying`, `links`, `overrides`, …
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from passerelle_consent.policy.standing import Actor, Standing
from passerelle_consent.records import problems, sql, standings
from passerelle_consent.records.ports import SubjectRef
from passerelle_consent.records.problems import Problem
from passerelle_consent.wire import JournalEntry, JournalType
from passerelle_schemas.topics import partition_of

ERASURE = "erasure"
"""The kind of change that ends all others of its subject (`erasure`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What every change has: its id, whose it is, who asked and when; and, for repeats, the caller's own key."""

    id: bytes
    ref: SubjectRef
    department: str
    principal: str
    at_ms: int
    partitions: int
    by: Actor = Actor.SUBJECT
    guardian: SubjectRef | None = None
    """Who asks as the subject's guardian, by a token of their own or at a counter: the script checks the records."""
    if_match: frozenset[str] | None = None
    """Change only a standing of one of these entity tags (RFC 9110 §13.1.1); None: whatever it is."""
    idempotency_key: str | None = None
    request: bytes = b""
    """SHA-256 of the request, to tell a repeat from another use of the same key."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A change as recorded."""

    id: bytes
    ref: SubjectRef | None
    """None of an erasure that is acknowledged."""
    kind: str
    agreement: str | None
    recipient: str
    state: str
    department: str
    principal: str
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


def find(conn: sa.Connection, change_id: bytes) -> Change | None:
    """Return the change of this id."""
    row = conn.execute(sql.CHANGE, {"id": change_id}).one_or_none()
    return None if row is None else Change.of(row)


def acknowledge(conn: sa.Connection, ids: Sequence[bytes], *, now_ms: int, partitions: int) -> list[Change]:
    """Note that the fence has passed these changes, and journal it. Those acknowledged before are left out.

    An entry's id follows from the change's: made again after a crash, it is the same entry, and the ledger has it once.
    """
    fenced = [Change.of(row) for row in conn.execute(sql.UNACKNOWLEDGED, {"ids": list(ids)})]
    if not fenced:
        return []
    conn.execute(sql.ACKNOWLEDGE, {"ids": [c.id for c in fenced], "now_ms": now_ms})
    rows = []
    for change in fenced:
        if change.kind == ERASURE:  # its own entry says it
            continue
        entry = JournalEntry(
            id=hashlib.blake2s(change.id, digest_size=16, person=b"fenced").digest(),
            type=JournalType.FENCED,
            at_ms=now_ms,
            subject=change.ref,
            agreements=() if change.agreement is None else (change.agreement,),
            recipient=change.recipient or None,  # a change of the person, and not of a sharing, has none
            department=change.department,
            regarding=change.id,
        )
        rows.append(standings.journal_row(entry, partitions))
    standings.tell(conn, rows)
    return [replace(change, acknowledged_at_ms=now_ms) for change in fenced]


def forget_keys(conn: sa.Connection, *, before_ms: int) -> None:
    """Forget the Idempotency-Keys used before then."""
    conn.execute(sql.FORGET_IDEMPOTENT, {"before_ms": before_ms})


def once(conn: sa.Connection, asked: Asked, script: Callable[[sa.Connection], Change]) -> Change:
    """Return the change that this repeats; otherwise run the script, if the standing is the one asked to change.

    Whatever the script refuses, it refuses after this: a repeat is answered as the first request was. Raises `Problem`
    idempotency-key-reused, stale-etag, and what the script raises.
    """
    repeated = _repeat_of(conn, asked)
    if repeated is not None:
        return repeated
    if asked.if_match is not None:
        held = standings.load(conn, asked.ref, asked.at_ms)
        if standings.etag(held) not in asked.if_match:
            raise Problem(problems.STALE_ETAG)
    return script(conn)


def _repeat_of(conn: sa.Connection, asked: Asked) -> Change | None:
    """Return the change that this repeats, by its Idempotency-Key. Raises `Problem` idempotency-key-reused."""
    if asked.idempotency_key is None:
        return None
    used = conn.execute(sql.IDEMPOTENT, {"principal": asked.principal, "key": asked.idempotency_key}).one_or_none()
    if used is None:
        return None
    if used.request != asked.request:
        raise Problem(problems.KEY_REUSED)
    return find(conn, used.change)


def record(
    conn: sa.Connection,
    asked: Asked,
    after: Standing,
    entry: JournalEntry,
    *,
    fenced: bool,
    said: dict[str, Any],
) -> Change:
    """Write the change and what the bus is to be told of it. See `noted`."""
    consent = standings.consent_row(asked.ref, after, asked.partitions, settles=asked.id, fenced=fenced)
    said = {**said, "standing": consent.value}
    change = noted(conn, asked, revision=after.revision, fenced=fenced, said=said)
    standings.tell(conn, (standings.journal_row(entry, asked.partitions), consent))
    return change


def noted(conn: sa.Connection, asked: Asked, *, revision: int, fenced: bool, said: dict[str, Any]) -> Change:
    """Write the change, and the key under which it may be repeated.

    ``said`` holds the columns of `changes` that differ by kind; ``fenced``: whether the fence must pass it first.
    """
    row = {
        **said,
        "id": asked.id,
        "ref": asked.ref,
        "department": asked.department,
        "principal": asked.principal,
        "revision": revision,
        "at_ms": asked.at_ms,
        "fenced": fenced,
        "consent_partition": partition_of(asked.ref, asked.partitions),
        "consent_offset": None,
        "acknowledged_at_ms": None,
    }
    conn.execute(sql.INSERT_CHANGE, row)
    if asked.idempotency_key is not None:
        used = {"principal": asked.principal, "key": asked.idempotency_key, "request": asked.request}
        conn.execute(sql.INSERT_IDEMPOTENT, {**used, "change": asked.id, "at_ms": asked.at_ms})
    return Change(**{name: row[name] for name in Change.__slots__})
