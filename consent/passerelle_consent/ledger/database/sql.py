"""What the ledger's tables are. Alembic's revisions (`migrations`) make them; a test holds the two together."""

import sqlalchemy as sa

metadata = sa.MetaData()
entries = sa.Table(
    "entries",
    metadata,
    sa.Column("idx", sa.BigInteger, primary_key=True, autoincrement=False),
    # Not unique: a decision that the gate recorded twice is evidence, and `verify` names it.
    sa.Column("ident", sa.LargeBinary(16), nullable=False, index=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
private_parts = sa.Table(
    "private_parts",
    metadata,
    sa.Column("idx", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    # Of its subject's key (`commitments.handle`); none once that key is destroyed.
    sa.Column("handle", sa.LargeBinary(16)),
    sa.Index("private_parts_by_subject", "handle", "idx"),
)
tiles = sa.Table(
    "tiles",
    metadata,
    sa.Column("level", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("idx", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hashes", sa.LargeBinary, nullable=False),
)
positions = sa.Table(
    "positions",
    metadata,
    sa.Column("topic", sa.Text, primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("next_offset", sa.BigInteger, nullable=False),
)
subject_keys = sa.Table(
    "subject_keys",
    metadata,
    sa.Column("subject", sa.LargeBinary(16), primary_key=True),
    sa.Column("master", sa.Text, nullable=False),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
)
checkpoints = sa.Table(
    "checkpoints",
    metadata,
    sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("root", sa.LargeBinary(32), nullable=False),
    sa.Column("note", sa.LargeBinary, nullable=False),
    sa.Column("signed_ms", sa.BigInteger, nullable=False),
)
leader = sa.Table(
    "leader",
    metadata,
    sa.Column("one", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("term", sa.BigInteger, nullable=False),
    sa.Column("until_ms", sa.BigInteger, nullable=False),
)
