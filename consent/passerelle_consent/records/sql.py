"""Every table and statement of the consent service. Portable: SQLite (WAL) embedded, PostgreSQL in production.

A table added here is added to `migrations` too; a test compares. Scripts run one after the other, on both databases
(`store`), so no statement locks a row.

Who writes what: one transaction holds a change, the new standing, and the outbox rows that tell of both, so that
either all of it happened or none. The relay deletes an outbox row once the broker has it, in the transaction that
notes where it stands; nothing else deletes one.

No identity stands here: a subject is its ref, and how to get from a person to a ref is a key this file never sees.
"""

from typing import Any

import sqlalchemy as sa

metadata = sa.MetaData()

_ID = sa.LargeBinary(16)
_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite counts up INTEGER keys only
_MS = sa.BigInteger()  # epoch milliseconds

subjects = sa.Table(
    "subjects",
    metadata,
    sa.Column("ref", _ID, primary_key=True),
    sa.Column("linked_at_ms", _MS, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("restricted_since_ms", _MS),
    sa.Column("minor_until_ms", _MS),
    sa.Column("protection", sa.Text),
)
sa.Index(
    "subjects_protected",
    subjects.c.ref,
    sqlite_where=subjects.c.protection.is_not(None),
    postgresql_where=subjects.c.protection.is_not(None),
)

links = sa.Table(
    "links",
    metadata,
    sa.Column("ref", _ID, primary_key=True),
    sa.Column("department", sa.Text, primary_key=True),
    sa.Column("at_ms", _MS, nullable=False),
)

stances = sa.Table(
    "stances",
    metadata,
    sa.Column("ref", _ID, primary_key=True),
    sa.Column("agreement", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("notice", sa.Integer),
    sa.Column("at_ms", _MS, nullable=False),
    sa.Column("until_ms", _MS),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("reminded_ms", _MS),  # when the subject was told that it ends; None of what was said anew
)
sa.Index(
    "stances_by_end",
    stances.c.until_ms,
    sqlite_where=stances.c.until_ms.is_not(None),
    postgresql_where=stances.c.until_ms.is_not(None),
)

overrides = sa.Table(
    "overrides",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("ref", _ID, nullable=False, index=True),
    sa.Column("department", sa.Text, nullable=False),
    sa.Column("principal", sa.Text, nullable=False),
    sa.Column("agreements", sa.Text, nullable=False),  # ids, with a space between
    sa.Column("recipient", sa.Text, nullable=False),
    sa.Column("reason_code", sa.Text, nullable=False),
    sa.Column("opened_ms", _MS, nullable=False),
    sa.Column("until_ms", _MS, nullable=False),
    sa.Column("review", sa.Text),  # None until another officer has looked at it
    sa.Column("reviewer", sa.Text),
    sa.Column("reviewed_ms", _MS),
)

guardianships = sa.Table(
    "guardianships",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("ref", _ID, nullable=False, index=True),  # the ward's
    sa.Column("guardian", _ID, nullable=False, index=True),
    sa.Column("relation", sa.Text, nullable=False),
    sa.Column("evidence", sa.Text, nullable=False),  # a record's or a judgment's reference
    sa.Column("first_ms", _MS, nullable=False),
    sa.Column("end_ms", _MS),
    sa.Column("department", sa.Text, nullable=False),
    sa.Column("principal", sa.Text, nullable=False),
)

# A guardian's consent that waits for the other guardian's.
approvals = sa.Table(
    "approvals",
    metadata,
    sa.Column("ref", _ID, primary_key=True),
    sa.Column("agreement", sa.Text, primary_key=True),
    sa.Column("guardian", _ID, primary_key=True),
    sa.Column("notice", sa.Integer),
    sa.Column("until_ms", _MS, nullable=False),
)

objections = sa.Table(
    "objections",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("ref", _ID, nullable=False, index=True),
    sa.Column("agreement", sa.Text, nullable=False),  # id@version
    sa.Column("department", sa.Text, nullable=False),  # the source, which answers
    sa.Column("made_ms", _MS, nullable=False),
    sa.Column("due_ms", _MS, nullable=False),
    sa.Column("outcome", sa.Text),
    sa.Column("ground", sa.Text),
    sa.Column("law", sa.Text),
    sa.Column("answered_ms", _MS),
)
sa.Index("objections_by_due", objections.c.department, objections.c.due_ms)

restrictions = sa.Table(
    "restrictions",
    metadata,
    sa.Column("ref", _ID, primary_key=True),
    sa.Column("ground", sa.Text, nullable=False),
    sa.Column("since_ms", _MS, nullable=False),
    sa.Column("lifting_ms", _MS),  # None until the citizen is told that it will be lifted
)

notices = sa.Table(
    "notices",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("ref", _ID, nullable=False, index=True),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("agreement", sa.Text),
    sa.Column("recipient", sa.Text),
    sa.Column("at_ms", _MS, nullable=False),
    sa.Column("read_ms", _MS),
)

# What was said, by whom, on which notice (GDPR Art. 7(1): the controller can demonstrate the consent), and whether
# it has taken effect. Its id is also the journal entry's and the acknowledgement's.
changes = sa.Table(
    "changes",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("ref", _ID, index=True),  # None of an erasure that is acknowledged: it is about nobody any more
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("agreement", sa.Text),  # id@version
    sa.Column("recipient", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("notice", sa.Integer),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("department", sa.Text, nullable=False),
    sa.Column("principal", sa.Text, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("at_ms", _MS, nullable=False),
    sa.Column("fenced", sa.Boolean, nullable=False),  # whether the fence must pass before it is acknowledged
    sa.Column("consent_partition", sa.Integer, nullable=False),
    sa.Column("consent_offset", sa.BigInteger),  # None until the broker has the standing
    sa.Column("acknowledged_at_ms", _MS),  # None until it is in effect
    # As `consent` carries it after this change: what stood at any time. None of an erasure.
    sa.Column("standing", sa.LargeBinary),
)
sa.Index(
    "changes_taking_effect",
    changes.c.id,
    sqlite_where=changes.c.acknowledged_at_ms.is_(None),
    postgresql_where=changes.c.acknowledged_at_ms.is_(None),
)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", _SERIAL, primary_key=True, autoincrement=True),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("partition", sa.Integer, nullable=False),
    sa.Column("key", sa.LargeBinary),
    sa.Column("value", sa.LargeBinary),  # None: a tombstone
    sa.Column("settles", _ID),  # what is written, or waits for the fence, once the broker has this row
    sa.Column("fenced", sa.Boolean, nullable=False, default=False),
    sqlite_autoincrement=True,  # an id is never used twice: order is all that an outbox has
)

idempotency = sa.Table(
    "idempotency",
    metadata,
    sa.Column("principal", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("request", sa.LargeBinary(32), nullable=False),  # SHA-256 of what was asked
    sa.Column("change", _ID, nullable=False),
    sa.Column("at_ms", _MS, nullable=False, index=True),
)

# Whom a notice of erasure was written to, and who says that its copies are gone (GDPR Art. 19). It holds no ref.
erasures = sa.Table(
    "erasures",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("department", sa.Text, primary_key=True),
    sa.Column("notified_at_ms", _MS),  # None until the fence has passed: with the fence the notice was written
    sa.Column("acknowledged_at_ms", _MS),
)

# One row: when `consent` was last appended to so that its segments close.
rolls = sa.Table("rolls", metadata, sa.Column("at_ms", _MS, nullable=False))

policies = sa.Table(
    "policies",
    metadata,
    sa.Column("id", _SERIAL, primary_key=True, autoincrement=True),
    sa.Column("digest", sa.LargeBinary(32), nullable=False),
    sa.Column("at_ms", _MS, nullable=False),
    # Packed: what a decision of long ago was made by, and which fields its flow had.
    sa.Column("bundle", sa.LargeBinary, nullable=False),
)

published_agreements = sa.Table("published_agreements", metadata, sa.Column("ref", sa.Text, primary_key=True))

consultations = sa.Table(
    "consultations",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("agreement", sa.Text, nullable=False),  # id@version of the draft
    sa.Column("department", sa.Text, nullable=False),
    sa.Column("document", sa.LargeBinary, nullable=False),  # RFC 8785, as published
    sa.Column("digest", sa.LargeBinary(32), nullable=False),
    sa.Column("opens_ms", _MS, nullable=False),
    sa.Column("closes_ms", _MS, nullable=False),
    sa.Column("published_ms", _MS, nullable=False),
    sa.Column("arguments", sa.Integer, nullable=False, default=0),  # how many were ever put forward
    sa.Column("voice_key", sa.LargeBinary(32)),  # None once it is closed and counted
    sa.Column("supports", sa.Integer),
    sa.Column("objects", sa.Integer),
    sa.Column("answer", sa.LargeBinary),
    sa.Column("result", sa.LargeBinary),  # RFC 8785; the ledger holds its digest
)
sa.Index("consultations_by_opening", consultations.c.opens_ms, consultations.c.id)

# Neither a ref nor a time: see `voices`.
voices = sa.Table(
    "voices",
    metadata,
    sa.Column("consultation", sa.Text, primary_key=True),
    sa.Column("tag", _ID, primary_key=True),
    sa.Column("stance", sa.Text, nullable=False),
)

arguments = sa.Table(
    "arguments",
    metadata,
    sa.Column("consultation", sa.Text, primary_key=True),
    sa.Column("n", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("tag", _ID),  # None once the consultation is closed
    sa.Column("side", sa.Text, nullable=False),
    sa.Column("language", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("ruling", sa.Text, nullable=False),
)

# --- the subject -----------------------------------------------------------------------------------------------------

SUBJECT: sa.Select[Any] = sa.select(
    subjects.c.revision, subjects.c.restricted_since_ms, subjects.c.minor_until_ms, subjects.c.protection
).where(subjects.c.ref == sa.bindparam("ref"))
STANCES: sa.Select[Any] = sa.select(stances).where(stances.c.ref == sa.bindparam("ref")).order_by(stances.c.agreement)
OVERRIDES: sa.Select[Any] = (
    sa.select(overrides.c.agreements, overrides.c.until_ms)
    .where(overrides.c.ref == sa.bindparam("ref"), overrides.c.until_ms > sa.bindparam("now_ms"))
    .order_by(overrides.c.until_ms)
)
REVISE = sa.update(subjects).where(subjects.c.ref == sa.bindparam("of")).values(revision=sa.bindparam("revision"))
UPDATE_STANCE = (
    sa.update(stances)
    .where(stances.c.ref == sa.bindparam("of"), stances.c.agreement == sa.bindparam("on"))
    .values({c: sa.bindparam(c) for c in ("state", "notice", "at_ms", "until_ms", "by", "reminded_ms")})
)
INSERT_STANCE = sa.insert(stances)
REVISE_PERSON = (
    sa.update(subjects)
    .where(subjects.c.ref == sa.bindparam("of"))
    .values({c: sa.bindparam(c) for c in ("revision", "restricted_since_ms", "minor_until_ms", "protection")})
)
EXPIRED: sa.Select[Any] = (
    sa.select(stances.c.ref, stances.c.agreement)
    .where(
        stances.c.state.in_(("given", "renewed")),
        stances.c.until_ms <= sa.bindparam("now_ms"),
        stances.c.agreement.in_(sa.bindparam("known", expanding=True)),
    )
    .order_by(stances.c.until_ms)
    .limit(sa.bindparam("limit"))
)

ENDING: sa.Select[Any] = (
    sa.select(stances.c.ref, stances.c.agreement)
    .where(
        stances.c.state.in_(("given", "renewed")),
        stances.c.until_ms > sa.bindparam("now_ms", type_=_MS),
        stances.c.until_ms <= sa.bindparam("soon_ms", type_=_MS),
        # One that was given for no longer than the reminder is early needs none.
        stances.c.until_ms - stances.c.at_ms > sa.bindparam("early_ms", type_=_MS),
        stances.c.reminded_ms.is_(None),
        stances.c.agreement.in_(sa.bindparam("known", expanding=True)),
    )
    .order_by(stances.c.until_ms)
    .limit(sa.bindparam("limit"))
)
REMINDED = (
    sa.update(stances)
    .where(stances.c.ref == sa.bindparam("of"), stances.c.agreement == sa.bindparam("on"))
    .values(reminded_ms=sa.bindparam("now_ms"))
)

# --- guardians -------------------------------------------------------------------------------------------------------

IS_KNOWN: sa.Select[Any] = sa.select(subjects.c.ref).where(subjects.c.ref == sa.bindparam("ref"))
INSERT_GUARDIANSHIP = sa.insert(guardianships)
GUARDIANSHIPS: sa.Select[Any] = (
    sa.select(guardianships)
    .where(guardianships.c.ref == sa.bindparam("ref"))
    .order_by(guardianships.c.first_ms.desc(), guardianships.c.id)
)
WARDS: sa.Select[Any] = (
    sa.select(guardianships, subjects.c.minor_until_ms)
    .join(subjects, subjects.c.ref == guardianships.c.ref)
    .where(guardianships.c.guardian == sa.bindparam("guardian"))
    .order_by(guardianships.c.first_ms.desc(), guardianships.c.id)
)
END_GUARDIANSHIP = (
    sa.update(guardianships)
    .where(guardianships.c.id == sa.bindparam("of"))
    .values(end_ms=sa.bindparam("end_ms", type_=_MS))
)
END_GUARDIANSHIPS = (
    sa.update(guardianships)
    .where(
        guardianships.c.ref == sa.bindparam("of"),
        sa.or_(guardianships.c.end_ms.is_(None), guardianships.c.end_ms > sa.bindparam("end_ms", type_=_MS)),
    )
    .values(end_ms=sa.bindparam("end_ms", type_=_MS))
)
_BEHIND_PROTECTION = (
    guardianships.c.ref == subjects.c.ref,
    guardianships.c.relation == sa.case((subjects.c.protection == "representation", "tutor"), else_="curator"),
)
_OVER = sa.func.coalesce(guardianships.c.end_ms <= sa.bindparam("now_ms", type_=_MS), sa.false())
# Led by the few protected. One whose guardian was erased has no such row, and stays protected until an officer says so.
LAPSED: sa.Select[Any] = (
    sa.select(subjects.c.ref)
    .where(
        subjects.c.protection.is_not(None),
        sa.or_(subjects.c.minor_until_ms.is_(None), subjects.c.minor_until_ms <= sa.bindparam("now_ms", type_=_MS)),
        sa.exists().where(*_BEHIND_PROTECTION, _OVER),
        ~sa.exists().where(*_BEHIND_PROTECTION, ~_OVER),
    )
    .order_by(subjects.c.ref)
    .limit(sa.bindparam("limit"))
)
INSERT_APPROVAL = sa.insert(approvals)
APPROVALS: sa.Select[Any] = sa.select(approvals).where(
    approvals.c.ref == sa.bindparam("ref"),
    approvals.c.agreement == sa.bindparam("agreement"),
    approvals.c.until_ms > sa.bindparam("now_ms"),
)
WAITING_APPROVALS: sa.Select[Any] = (
    sa.select(approvals)
    .where(approvals.c.ref == sa.bindparam("ref"), approvals.c.until_ms > sa.bindparam("now_ms"))
    .order_by(approvals.c.agreement, approvals.c.guardian)
)
_APPROVED = (approvals.c.ref == sa.bindparam("of"), approvals.c.agreement == sa.bindparam("on"))
FORGET_APPROVAL = sa.delete(approvals).where(*_APPROVED, approvals.c.guardian == sa.bindparam("who"))
FORGET_APPROVALS = sa.delete(approvals).where(*_APPROVED)

# --- overrides -------------------------------------------------------------------------------------------------------

INSERT_OVERRIDE = sa.insert(overrides)
OVERRIDE: sa.Select[Any] = sa.select(overrides).where(overrides.c.id == sa.bindparam("id"))
OVERRIDES_OF: sa.Select[Any] = (
    sa.select(overrides)
    .where(
        overrides.c.ref == sa.bindparam("ref"),
        sa.tuple_(overrides.c.opened_ms, overrides.c.id) < sa.tuple_(sa.bindparam("opened_ms"), sa.bindparam("id")),
    )
    .order_by(overrides.c.opened_ms.desc(), overrides.c.id.desc())
    .limit(sa.bindparam("limit"))
)
UNREVIEWED: sa.Select[Any] = (
    sa.select(overrides)
    .where(
        overrides.c.review.is_(None),
        sa.tuple_(overrides.c.opened_ms, overrides.c.id) > sa.tuple_(sa.bindparam("opened_ms"), sa.bindparam("id")),
    )
    .order_by(overrides.c.opened_ms, overrides.c.id)
    .limit(sa.bindparam("limit"))
)
REVIEW_OVERRIDE = (
    sa.update(overrides)
    .where(overrides.c.id == sa.bindparam("of"))
    .values({c: sa.bindparam(c) for c in ("review", "reviewer", "reviewed_ms", "until_ms")})
)

# --- objections ------------------------------------------------------------------------------------------------------

INSERT_OBJECTION = sa.insert(objections)
OBJECTION: sa.Select[Any] = sa.select(objections).where(objections.c.id == sa.bindparam("id"))
UNANSWERED: sa.Select[Any] = (
    sa.select(objections)
    .where(
        objections.c.department == sa.bindparam("department"),
        objections.c.answered_ms.is_(None),
        sa.tuple_(objections.c.due_ms, objections.c.id) > sa.tuple_(sa.bindparam("due_ms"), sa.bindparam("id")),
    )
    .order_by(objections.c.due_ms, objections.c.id)
    .limit(sa.bindparam("limit"))
)
OBJECTED: sa.Select[Any] = sa.select(objections.c.agreement).where(objections.c.answered_ms.is_(None)).distinct()
OPEN_OBJECTIONS: sa.Select[Any] = (
    sa.select(objections)
    .where(objections.c.answered_ms.is_(None), objections.c.agreement.in_(sa.bindparam("agreements", expanding=True)))
    .order_by(objections.c.due_ms, objections.c.id)
    .limit(sa.bindparam("limit"))
)
ANSWER_OBJECTION = (
    sa.update(objections)
    .where(objections.c.id == sa.bindparam("of"))
    .values({c: sa.bindparam(c) for c in ("outcome", "ground", "law", "answered_ms")})
)

# --- restrictions ----------------------------------------------------------------------------------------------------

INSERT_RESTRICTION = sa.insert(restrictions)
LIFTING: sa.Select[Any] = sa.select(restrictions.c.lifting_ms).where(restrictions.c.ref == sa.bindparam("ref"))
ANNOUNCE_LIFTING = (
    sa.update(restrictions)
    .where(restrictions.c.ref == sa.bindparam("of"))
    .values(lifting_ms=sa.bindparam("lifting_ms"))
)
DELETE_RESTRICTION = sa.delete(restrictions).where(restrictions.c.ref == sa.bindparam("of"))

# --- notices ---------------------------------------------------------------------------------------------------------

INSERT_NOTICE = sa.insert(notices)
NOTICES_TO: sa.Select[Any] = (
    sa.select(notices)
    .where(
        notices.c.ref == sa.bindparam("ref"),
        sa.tuple_(notices.c.at_ms, notices.c.id) < sa.tuple_(sa.bindparam("at_ms"), sa.bindparam("id")),
    )
    .order_by(notices.c.at_ms.desc(), notices.c.id.desc())
    .limit(sa.bindparam("limit"))
)
NOTICE_TO: sa.Select[Any] = sa.select(notices.c.id).where(
    notices.c.id == sa.bindparam("id"), notices.c.ref == sa.bindparam("ref")
)
READ_NOTICE = (
    sa.update(notices)
    .where(notices.c.id == sa.bindparam("of"), notices.c.ref == sa.bindparam("whose"), notices.c.read_ms.is_(None))
    .values(read_ms=sa.bindparam("read_ms"))
)

# --- what is due -----------------------------------------------------------------------------------------------------

REVIEWS_OVERDUE: sa.Select[Any] = sa.select(sa.func.count()).where(
    overrides.c.review.is_(None), overrides.c.opened_ms <= sa.bindparam("before_ms")
)
REVIEWS_OPEN: sa.Select[Any] = sa.select(sa.func.count()).where(overrides.c.review.is_(None))
ANSWERS_OVERDUE: sa.Select[Any] = sa.select(sa.func.count()).where(
    objections.c.answered_ms.is_(None), objections.c.due_ms <= sa.bindparam("before_ms")
)
CONSENTS_ENDING: sa.Select[Any] = sa.select(sa.func.count()).where(
    stances.c.state.in_(("given", "renewed")),
    stances.c.until_ms > sa.bindparam("now_ms"),
    stances.c.until_ms <= sa.bindparam("before_ms"),
)
ANSWERS_OPEN: sa.Select[Any] = sa.select(sa.func.count()).where(objections.c.answered_ms.is_(None))

# --- links -----------------------------------------------------------------------------------------------------------

# FOR UPDATE: on PostgreSQL a subject is not erased between this look and the link.
KNOWN_SUBJECTS: sa.Select[Any] = (
    sa.select(subjects.c.ref).where(subjects.c.ref.in_(sa.bindparam("refs", expanding=True))).with_for_update()
)
LINKED_BY: sa.Select[Any] = sa.select(links.c.ref).where(
    links.c.department == sa.bindparam("department"), links.c.ref.in_(sa.bindparam("refs", expanding=True))
)
INSERT_SUBJECTS = sa.insert(subjects)
INSERT_LINKS = sa.insert(links)

# --- changes ---------------------------------------------------------------------------------------------------------

INSERT_CHANGE = sa.insert(changes)
CHANGE: sa.Select[Any] = sa.select(changes).where(changes.c.id == sa.bindparam("id"))
# A subject's revisions are those of its changes, so they are an order and a place in one.
HISTORY: sa.Select[Any] = (
    sa.select(changes)
    .where(changes.c.ref == sa.bindparam("ref"), changes.c.revision < sa.bindparam("before"))
    .order_by(changes.c.revision.desc())
    .limit(sa.bindparam("limit"))
)
HISTORY_OF: sa.Select[Any] = HISTORY.where(changes.c.agreement.like(sa.bindparam("versions")))
"""``versions``: an agreement's id and `@%`; an id has neither `%` nor `_`."""
FIRST_STANDING: sa.Select[Any] = sa.select(subjects.c.linked_at_ms, subjects.c.minor_until_ms).where(
    subjects.c.ref == sa.bindparam("ref")
)
STANDINGS_LEFT: sa.Select[Any] = (
    sa.select(changes.c.at_ms, changes.c.acknowledged_at_ms, changes.c.standing)
    .where(changes.c.ref == sa.bindparam("ref"), changes.c.standing.is_not(None))
    .order_by(changes.c.revision)
)
# On the broker, not yet fenced: what a service that starts waits for again.
TAKING_EFFECT: sa.Select[Any] = sa.select(changes.c.id, changes.c.consent_partition, changes.c.consent_offset).where(
    changes.c.acknowledged_at_ms.is_(None), changes.c.consent_offset.is_not(None)
)
WRITTEN = (
    sa.update(changes)
    .where(changes.c.id == sa.bindparam("of"))
    .values(
        consent_offset=sa.bindparam("consent_offset"),
        acknowledged_at_ms=sa.case((changes.c.fenced, None), else_=sa.bindparam("now_ms", type_=_MS)),
    )
)
UNACKNOWLEDGED: sa.Select[Any] = sa.select(changes).where(
    changes.c.id.in_(sa.bindparam("ids", expanding=True)), changes.c.acknowledged_at_ms.is_(None)
)
ACKNOWLEDGE = (
    sa.update(changes)
    .where(changes.c.id.in_(sa.bindparam("ids", expanding=True)))
    .values(acknowledged_at_ms=sa.bindparam("now_ms"))
)

# --- erasure ---------------------------------------------------------------------------------------------------------


def erasing() -> list[sa.Delete]:
    """Return what deletes all that is held of a subject, changes aside: those are needed until the fence has passed.

    Every table with a subject's `ref`, whoever adds it, and what the subject was to others as their `guardian`. Those
    that refer to others go first.
    """
    about = [
        (t, t.c[name]) for t in reversed(metadata.sorted_tables) for name in _about_somebody(t) if t is not changes
    ]
    return [sa.delete(table).where(column == sa.bindparam("ref")) for table, column in about]


def _about_somebody(table: sa.Table) -> list[str]:
    return [n for n in ("ref", "guardian") if n in table.c and isinstance(table.c[n].type, sa.LargeBinary)]


LINKED_DEPARTMENTS: sa.Select[Any] = sa.select(links.c.department).where(links.c.ref == sa.bindparam("ref"))
RECIPIENTS: sa.Select[Any] = sa.select(changes.c.recipient).where(changes.c.ref == sa.bindparam("ref")).distinct()
ERASURE_UNDER_WAY: sa.Select[Any] = sa.select(changes).where(
    changes.c.ref.in_(sa.bindparam("refs", expanding=True)),
    changes.c.kind == "erasure",
    changes.c.acknowledged_at_ms.is_(None),
)
FORGET_KEYS_OF = sa.delete(idempotency).where(
    idempotency.c.change.in_(sa.select(changes.c.id).where(changes.c.ref == sa.bindparam("whose")))
)
FORGET_CHANGES_OF = sa.delete(changes).where(
    changes.c.ref == sa.bindparam("whose"), changes.c.id != sa.bindparam("but")
)
# A citizen's principal tells citizens apart.
STRIP_ERASURE = sa.update(changes).where(changes.c.id == sa.bindparam("but")).values(ref=None, principal="")
INSERT_ERASURES = sa.insert(erasures)
NOTIFIED = sa.update(erasures).where(erasures.c.id == sa.bindparam("of")).values(notified_at_ms=sa.bindparam("now_ms"))
_ONE_NOTICE = (erasures.c.id == sa.bindparam("id"), erasures.c.department == sa.bindparam("department"))
ERASURE_NOTICE: sa.Select[Any] = sa.select(erasures).where(*_ONE_NOTICE)
ERASURE_NOTICES_OF: sa.Select[Any] = (
    sa.select(erasures).where(erasures.c.id == sa.bindparam("id")).order_by(erasures.c.department)
)
ERASURE_NOTICES: sa.Select[Any] = (
    sa.select(erasures)
    .where(
        sa.or_(
            erasures.c.id > sa.bindparam("id"),
            sa.and_(erasures.c.id == sa.bindparam("id"), erasures.c.department > sa.bindparam("department")),
        )
    )
    .order_by(erasures.c.id, erasures.c.department)
    .limit(sa.bindparam("most"))
)
_MISSING = (erasures.c.acknowledged_at_ms.is_(None), erasures.c.notified_at_ms < sa.bindparam("told_before_ms"))
OVERDUE_NOTICES = ERASURE_NOTICES.where(*_MISSING)
ACKNOWLEDGEMENTS_MISSING: sa.Select[Any] = sa.select(sa.func.count()).where(*_MISSING)
CONFIRM = (
    sa.update(erasures)
    .where(
        erasures.c.id == sa.bindparam("of"),
        erasures.c.department == sa.bindparam("whose"),
        erasures.c.acknowledged_at_ms.is_(None),
    )
    .values(acknowledged_at_ms=sa.bindparam("now_ms"))
)
LAST_ROLL: sa.Select[Any] = sa.select(rolls.c.at_ms)
FIRST_ROLL = sa.insert(rolls)
ROLLED = sa.update(rolls).values(at_ms=sa.bindparam("now_ms"))

# --- outbox ----------------------------------------------------------------------------------------------------------

INSERT_OUTBOX = sa.insert(outbox)
UNSENT: sa.Select[Any] = sa.select(outbox).order_by(outbox.c.id).limit(sa.bindparam("batch"))
DELETE_SENT = sa.delete(outbox).where(outbox.c.id.in_(sa.bindparam("ids", expanding=True)))

# --- idempotency -----------------------------------------------------------------------------------------------------

IDEMPOTENT: sa.Select[Any] = sa.select(idempotency.c.request, idempotency.c.change).where(
    idempotency.c.principal == sa.bindparam("principal"), idempotency.c.key == sa.bindparam("key")
)
INSERT_IDEMPOTENT = sa.insert(idempotency)
FORGET_IDEMPOTENT = sa.delete(idempotency).where(idempotency.c.at_ms < sa.bindparam("before_ms"))

# --- policy ----------------------------------------------------------------------------------------------------------

LAST_POLICY: sa.Select[Any] = sa.select(policies.c.digest).order_by(policies.c.id.desc()).limit(1)
INSERT_POLICY = sa.insert(policies)
POLICY: sa.Select[Any] = sa.select(policies.c.bundle).where(policies.c.digest == sa.bindparam("digest")).limit(1)
PUBLISHED_AGREEMENTS: sa.Select[Any] = sa.select(published_agreements.c.ref)
INSERT_AGREEMENTS = sa.insert(published_agreements)

# --- consultations ---------------------------------------------------------------------------------------------------

CONSULTATION: sa.Select[Any] = sa.select(consultations).where(consultations.c.id == sa.bindparam("id"))
CONSULTATIONS: sa.Select[Any] = (
    sa.select(consultations)
    .where(
        sa.tuple_(consultations.c.opens_ms, consultations.c.id)
        < sa.tuple_(sa.bindparam("opens_ms"), sa.bindparam("id"))
    )
    .order_by(consultations.c.opens_ms.desc(), consultations.c.id.desc())
    .limit(sa.bindparam("limit"))
)
CONSULTATIONS_DUE: sa.Select[Any] = (
    sa.select(consultations.c.id)
    .where(consultations.c.closes_ms <= sa.bindparam("now_ms"), consultations.c.voice_key.is_not(None))
    .limit(sa.bindparam("limit"))
)
CONSULTATIONS_WITH_VOICES: sa.Select[Any] = sa.select(consultations.c.id, consultations.c.voice_key).where(
    consultations.c.voice_key.is_not(None)
)
INSERT_CONSULTATION = sa.insert(consultations)
CLOSE_CONSULTATION = (
    sa.update(consultations)
    .where(consultations.c.id == sa.bindparam("of"))
    .values(voice_key=None, supports=sa.bindparam("supports"), objects=sa.bindparam("objects"))
)
ANSWER_CONSULTATION = (
    sa.update(consultations)
    .where(consultations.c.id == sa.bindparam("of"))
    .values(result=sa.bindparam("result"), answer=sa.bindparam("answer"))
)
CONSULTATION_ANSWER: sa.Select[Any] = sa.select(consultations.c.answer).where(consultations.c.id == sa.bindparam("of"))

VOICE: sa.Select[Any] = sa.select(voices.c.stance).where(
    voices.c.consultation == sa.bindparam("of"), voices.c.tag == sa.bindparam("by")
)
INSERT_VOICE = sa.insert(voices)
TAKE_BACK_VOICE = sa.delete(voices).where(
    voices.c.consultation == sa.bindparam("of"), voices.c.tag == sa.bindparam("by")
)
COUNT_VOICES: sa.Select[Any] = (
    sa.select(voices.c.stance, sa.func.count().label("voices"))
    .where(voices.c.consultation == sa.bindparam("of"))
    .group_by(voices.c.stance)
)
FORGET_VOICES = sa.delete(voices).where(voices.c.consultation == sa.bindparam("of"))

COUNT_ARGUMENT = (
    sa.update(consultations)
    .where(consultations.c.id == sa.bindparam("of"))
    .values(arguments=consultations.c.arguments + 1)
)
ARGUMENTS_SO_FAR: sa.Select[Any] = sa.select(consultations.c.arguments).where(consultations.c.id == sa.bindparam("of"))
INSERT_ARGUMENT = sa.insert(arguments)
ARGUMENTS: sa.Select[Any] = (
    sa.select(arguments)
    .where(
        arguments.c.consultation == sa.bindparam("of"),
        arguments.c.ruling == sa.bindparam("ruling"),
        arguments.c.n > sa.bindparam("after"),
    )
    .order_by(arguments.c.n)
    .limit(sa.bindparam("limit"))
)
RULE_ON_ARGUMENT = (
    sa.update(arguments)
    .where(arguments.c.consultation == sa.bindparam("of"), arguments.c.n == sa.bindparam("at"))
    .values(ruling=sa.bindparam("ruling"))
)
_OF_AUTHOR = (arguments.c.consultation == sa.bindparam("of"), arguments.c.tag == sa.bindparam("by"))
FORGET_ARGUMENT = sa.delete(arguments).where(*_OF_AUTHOR, arguments.c.side == sa.bindparam("on"))
FORGET_ARGUMENTS = sa.delete(arguments).where(*_OF_AUTHOR)
FORGET_AUTHORS = sa.update(arguments).where(arguments.c.consultation == sa.bindparam("of")).values(tag=None)
