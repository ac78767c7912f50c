"""Linking people to a department: what gives a subject its first standing (DESIGN §4)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import sqlalchemy as sa

from passerelle_consent.policy.standing import Standing
from passerelle_consent.records import erasure, sql, standings
from passerelle_consent.records.ports import NewId, SubjectRef
from passerelle_consent.wire import JournalEntry, JournalType


def link(
    conn: sa.Connection,
    refs: Sequence[SubjectRef],
    *,
    minors: Mapping[SubjectRef, int],
    department: str,
    at_ms: int,
    batch: bytes,
    new_id: NewId,
    partitions: int,
) -> bool:
    """Link subjects to a department; what is linked already stays as it is. Returns whether anything was new.

    ``batch`` is settled once the broker has all of it. Raises `Problem` erasure-under-way, and then links nobody.
    """
    wanted = list(dict.fromkeys(refs))
    linked = set(conn.scalars(sql.LINKED_BY, {"department": department, "refs": wanted}))
    new_links = [ref for ref in wanted if ref not in linked]
    if not new_links:
        return False
    known = set(conn.scalars(sql.KNOWN_SUBJECTS, {"refs": new_links}))
    erasure.refuse_while_under_way(conn, new_links)
    new_subjects = [ref for ref in new_links if ref not in known]
    if new_subjects:
        first = {"linked_at_ms": at_ms, "revision": 1}
        rows_in = [{"ref": ref, "minor_until_ms": minors.get(ref), **first} for ref in new_subjects]
        conn.execute(sql.INSERT_SUBJECTS, rows_in)
    conn.execute(sql.INSERT_LINKS, [{"ref": ref, "department": department, "at_ms": at_ms} for ref in new_links])
    standing = Standing(linked=True, revision=1)
    rows = [
        standings.consent_row(ref, replace(standing, minor_until_ms=minors.get(ref)), partitions)
        for ref in new_subjects
    ]
    for ref in new_links:
        entry = JournalEntry(id=new_id(), type=JournalType.LINKED, at_ms=at_ms, subject=ref, department=department)
        rows.append(standings.journal_row(entry, partitions))
    rows[-1] = replace(rows[-1], settles=batch)  # rows are sent in order: after the last, all of them are
    standings.tell(conn, rows)
    return True
