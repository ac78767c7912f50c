"""Read and write one subject's standing within a transaction, and tell the bus of it through the outbox."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from passerelle_consent.policy.standing import Actor, Override, Protection, Stance, Standing, State
from passerelle_consent.records import problems, sql
from passerelle_consent.records.ports import SubjectRef
from passerelle_consent.records.problems import Problem
from passerelle_consent.wire import JournalEntry, encode_journal, encode_standing
from passerelle_schemas.topics import CONSENT, JOURNAL, partition_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One outbox row on its way in. `settles` names what this row, once on the broker, has brought about."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    """None: a tombstone."""
    settles: bytes | None = None
    fenced: bool = False


def load(conn: sa.Connection, ref: SubjectRef, now_ms: int) -> Standing:
    """Return the standing, overrides that ended left out. Raises `Problem` unknown-subject."""
    subject = conn.execute(sql.SUBJECT, {"ref": ref}).one_or_none()
    if subject is None:
        raise Problem(problems.UNKNOWN_SUBJECT)
    stances = (
        Stance(
            agreement=s.agreement,
            state=State(s.state),
            notice=s.notice,
            at_ms=s.at_ms,
            until_ms=s.until_ms,
            by=Actor(s.by),
        )
        for s in conn.execute(sql.STANCES, {"ref": ref})
    )
    overrides = conn.execute(sql.OVERRIDES, {"ref": ref, "now_ms": now_ms})
    return Standing(
        linked=True,
        revision=subject.revision,
        stances={s.agreement: s for s in stances},
        restricted_since_ms=subject.restricted_since_ms,
        overrides=tuple(Override(agreement=a, until_ms=o.until_ms) for o in overrides for a in o.agreements.split()),
        minor_until_ms=subject.minor_until_ms,
        protection=None if subject.protection is None else Protection(subject.protection),
    )


def save_stance(conn: sa.Connection, ref: SubjectRef, before: Standing, stance: Stance) -> None:
    """Write one stance and the next revision."""
    said = {
        "state": stance.state.value,
        "notice": stance.notice,
        "at_ms": stance.at_ms,
        "until_ms": stance.until_ms,
        "by": stance.by.value,
        "reminded_ms": None,
    }
    if stance.agreement in before.stances:
        conn.execute(sql.UPDATE_STANCE, {"of": ref, "on": stance.agreement, **said})
    else:
        conn.execute(sql.INSERT_STANCE, {"ref": ref, "agreement": stance.agreement, **said})
    revise(conn, ref, before)


def revise(conn: sa.Connection, ref: SubjectRef, before: Standing) -> None:
    """Write the next revision."""
    conn.execute(sql.REVISE, {"of": ref, "revision": before.revision + 1})


def save_person(conn: sa.Connection, ref: SubjectRef, after: Standing) -> None:
    """Write what a standing says of the person and not of an agreement, with its revision."""
    said = {
        "revision": after.revision,
        "restricted_since_ms": after.restricted_since_ms,
        "minor_until_ms": after.minor_until_ms,
        "protection": after.protection and after.protection.value,
    }
    conn.execute(sql.REVISE_PERSON, {"of": ref, **said})


def etag(standing: Standing) -> str:
    """Return a strong entity tag (RFC 9110 §8.8.3): it changes with all that is shown of a standing.

    A revision would not do: an override ends by itself, without one. Opaque, and the same for the same standing.
    """
    return f'"{hashlib.sha256(encode_standing(standing)).hexdigest()[:32]}"'


def consent_row(
    ref: SubjectRef, standing: Standing, partitions: int, *, settles: bytes | None = None, fenced: bool = False
) -> Row:
    """Return the record of `consent`: the whole standing, since the topic is compacted."""
    return Row(
        topic=CONSENT,
        partition=partition_of(ref, partitions),
        key=ref,
        value=encode_standing(standing),
        settles=settles,
        fenced=fenced,
    )


def journal_row(entry: JournalEntry, partitions: int) -> Row:
    """Return the record of `consent.journal`; an entry about nobody goes to partition 0, so that they keep order."""
    partition = 0 if entry.subject is None else partition_of(entry.subject, partitions)
    return Row(topic=JOURNAL, partition=partition, key=entry.subject, value=encode_journal(entry))


def tell(conn: sa.Connection, rows: Iterable[Row]) -> None:
    """Put rows into the outbox in this order."""
    plain = [{name: getattr(row, name) for name in Row.__slots__} for row in rows]
    if plain:
        conn.execute(sql.INSERT_OUTBOX, plain)
