"""Overrides for vital interests (GDPR Art. 6(1)(d))."""

from dataclasses import replace

import sqlalchemy as sa

from passerelle_consent.policy.standing import Actor, Override
from passerelle_consent.records import sql, standings
from passerelle_consent.records.changes import Asked, Change, record, repeat_of
from passerelle_consent.wire import JournalEntry, JournalType

OVERRIDE = "override"


def open_override(
    conn: sa.Connection,
    asked: Asked,
    *,
    recipient: str,
    officer: str,
    reason_code: str,
    until_ms: int,
) -> Change:
    """Vital interests (GDPR Art. 6(1)(d)). Raises `Problem`; a repeat returns the change that it repeats."""
    repeated = repeat_of(conn, asked)
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
    return record(conn, asked, after, entry, fenced=False, said=said)
