"""The tables of the first release. Columns stand here in the words of `sql`, which a test compares."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ID = sa.LargeBinary(16)
_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_MS = sa.BigInteger()


def upgrade() -> None:
    """Make every table. There is no way down: a store that may be needed as evidence is restored from a backup."""
    op.create_table(
        "subjects",
        sa.Column("ref", _ID, primary_key=True),
        sa.Column("linked_at_ms", _MS, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("restricted_since_ms", _MS),
        sa.Column("minor_until_ms", _MS),
        sa.Column("protection", sa.Text),
    )
    op.create_index(
        "subjects_protected",
        "subjects",
        ["ref"],
        sqlite_where=sa.text("protection IS NOT NULL"),
        postgresql_where=sa.text("protection IS NOT NULL"),
    )
    op.create_table(
        "links",
        sa.Column("ref", _ID, primary_key=True),
        sa.Column("department", sa.Text, primary_key=True),
        sa.Column("at_ms", _MS, nullable=False),
    )
    op.create_table(
        "stances",
        sa.Column("ref", _ID, primary_key=True),
        sa.Column("agreement", sa.Text, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("notice", sa.Integer),
        sa.Column("at_ms", _MS, nullable=False),
        sa.Column("until_ms", _MS),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("reminded_ms", _MS),
    )
    op.create_index(
        "stances_by_end",
        "stances",
        ["until_ms"],
        sqlite_where=sa.text("until_ms IS NOT NULL"),
        postgresql_where=sa.text("until_ms IS NOT NULL"),
    )
    op.create_table(
        "overrides",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("ref", _ID, nullable=False, index=True),
        sa.Column("department", sa.Text, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("agreements", sa.Text, nullable=False),
        sa.Column("recipient", sa.Text, nullable=False),
        sa.Column("reason_code", sa.Text, nullable=False),
        sa.Column("opened_ms", _MS, nullable=False),
        sa.Column("until_ms", _MS, nullable=False),
        sa.Column("review", sa.Text),
        sa.Column("reviewer", sa.Text),
        sa.Column("reviewed_ms", _MS),
    )
    op.create_table(
        "guardianships",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("ref", _ID, nullable=False, index=True),
        sa.Column("guardian", _ID, nullable=False, index=True),
        sa.Column("relation", sa.Text, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
        sa.Column("first_ms", _MS, nullable=False),
        sa.Column("end_ms", _MS),
        sa.Column("department", sa.Text, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
    )
    op.create_table(
        "approvals",
        sa.Column("ref", _ID, primary_key=True),
        sa.Column("agreement", sa.Text, primary_key=True),
        sa.Column("guardian", _ID, primary_key=True),
        sa.Column("notice", sa.Integer),
        sa.Column("until_ms", _MS, nullable=False),
    )
    op.create_table(
        "objections",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("ref", _ID, nullable=False, index=True),
        sa.Column("agreement", sa.Text, nullable=False),
        sa.Column("department", sa.Text, nullable=False),
        sa.Column("made_ms", _MS, nullable=False),
        sa.Column("due_ms", _MS, nullable=False),
        sa.Column("outcome", sa.Text),
        sa.Column("ground", sa.Text),
        sa.Column("law", sa.Text),
        sa.Column("answered_ms", _MS),
    )
    op.create_index("objections_by_due", "objections", ["department", "due_ms"])
    op.create_table(
        "restrictions",
        sa.Column("ref", _ID, primary_key=True),
        sa.Column("ground", sa.Text, nullable=False),
        sa.Column("since_ms", _MS, nullable=False),
        sa.Column("lifting_ms", _MS),
    )
    op.create_table(
        "notices",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("ref", _ID, nullable=False, index=True),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("agreement", sa.Text),
        sa.Column("recipient", sa.Text),
        sa.Column("at_ms", _MS, nullable=False),
        sa.Column("read_ms", _MS),
    )
    op.create_table(
        "changes",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("ref", _ID, index=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("agreement", sa.Text),
        sa.Column("recipient", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("notice", sa.Integer),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("department", sa.Text, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("at_ms", _MS, nullable=False),
        sa.Column("fenced", sa.Boolean, nullable=False),
        sa.Column("consent_partition", sa.Integer, nullable=False),
        sa.Column("consent_offset", sa.BigInteger),
        sa.Column("acknowledged_at_ms", _MS),
        sa.Column("standing", sa.LargeBinary),
    )
    op.create_index(
        "changes_taking_effect",
        "changes",
        ["id"],
        sqlite_where=sa.text("acknowledged_at_ms IS NULL"),
        postgresql_where=sa.text("acknowledged_at_ms IS NULL"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("partition", sa.Integer, nullable=False),
        sa.Column("key", sa.LargeBinary),
        sa.Column("value", sa.LargeBinary),
        sa.Column("settles", _ID),
        sa.Column("fenced", sa.Boolean, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "idempotency",
        sa.Column("principal", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("request", sa.LargeBinary(32), nullable=False),
        sa.Column("change", _ID, nullable=False),
        sa.Column("at_ms", _MS, nullable=False, index=True),
    )
    op.create_table(
        "erasures",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("department", sa.Text, primary_key=True),
        sa.Column("notified_at_ms", _MS),
        sa.Column("acknowledged_at_ms", _MS),
    )
    op.create_table("rolls", sa.Column("at_ms", _MS, nullable=False))
    op.create_table(
        "policies",
        sa.Column("id", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("at_ms", _MS, nullable=False),
        sa.Column("bundle", sa.LargeBinary, nullable=False),
    )
    op.create_table("published_agreements", sa.Column("ref", sa.Text, primary_key=True))
    op.create_table(
        "consultations",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("agreement", sa.Text, nullable=False),
        sa.Column("department", sa.Text, nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("opens_ms", _MS, nullable=False),
        sa.Column("closes_ms", _MS, nullable=False),
        sa.Column("published_ms", _MS, nullable=False),
        sa.Column("arguments", sa.Integer, nullable=False),
        sa.Column("voice_key", sa.LargeBinary(32)),
        sa.Column("supports", sa.Integer),
        sa.Column("objects", sa.Integer),
        sa.Column("answer", sa.LargeBinary),
        sa.Column("result", sa.LargeBinary),
    )
    op.create_index("consultations_by_opening", "consultations", ["opens_ms", "id"])
    op.create_table(
        "voices",
        sa.Column("consultation", sa.Text, primary_key=True),
        sa.Column("tag", _ID, primary_key=True),
        sa.Column("stance", sa.Text, nullable=False),
    )
    op.create_table(
        "arguments",
        sa.Column("consultation", sa.Text, primary_key=True),
        sa.Column("n", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("tag", _ID),
        sa.Column("side", sa.Text, nullable=False),
        sa.Column("language", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("ruling", sa.Text, nullable=False),
    )
