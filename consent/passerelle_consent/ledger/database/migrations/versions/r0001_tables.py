"""The tables of the first release. Columns stand here in the words of `sql`, which a test compares."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_INDEX = sa.BigInteger()
_MS = sa.BigInteger()


def upgrade() -> None:
    """Make every table. There is no way down: a ledger is evidence, and restored from a backup if it must be."""
    op.create_table(
        "entries",
        sa.Column("idx", _INDEX, primary_key=True, autoincrement=False),
        sa.Column("ident", sa.LargeBinary(16), nullable=False, index=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "private_parts",
        sa.Column("idx", _INDEX, primary_key=True, autoincrement=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("handle", sa.LargeBinary(16)),
    )
    op.create_index("private_parts_by_subject", "private_parts", ["handle", "idx"])
    op.create_table(
        "tiles",
        sa.Column("level", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("idx", _INDEX, primary_key=True, autoincrement=False),
        sa.Column("hashes", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "positions",
        sa.Column("topic", sa.Text, primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("next_offset", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "subject_keys",
        sa.Column("subject", sa.LargeBinary(16), primary_key=True),
        sa.Column("master", sa.Text, nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "checkpoints",
        sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("root", sa.LargeBinary(32), nullable=False),
        sa.Column("note", sa.LargeBinary, nullable=False),
        sa.Column("signed_ms", _MS, nullable=False),
    )
    op.create_table(
        "leader",
        sa.Column("one", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("term", sa.BigInteger, nullable=False),
        sa.Column("until_ms", _MS, nullable=False),
    )
