"""The index's tables. They have no revisions: an index of another layout is made anew from the log."""

import sqlalchemy as sa

LAYOUT = 1
"""Of the tables below. An index of another layout is emptied, and made anew from the log."""

metadata = sa.MetaData()
shapes = sa.Table(
    "index_shapes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("said", sa.Text, nullable=False, unique=True),  # a JSON array, in the order of `Shape`'s fields
    sa.Column("first_idx", sa.BigInteger, nullable=False),
    sa.Column("last_idx", sa.BigInteger, nullable=False),
)
places = sa.Table(
    "index_places",
    metadata,
    sa.Column("shape", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("idx", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("time_ms", sa.BigInteger, nullable=False),
    # The first eight bytes of its id, as a number.
    sa.Column("prefix", sa.BigInteger, nullable=False, index=True),
    sqlite_with_rowid=False,
)
tallies = sa.Table(
    "index_tallies",
    metadata,
    sa.Column("every", sa.String(5), primary_key=True),
    sa.Column("start_ms", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("shape", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("count", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
hours = sa.Table(
    "index_hours",
    metadata,
    sa.Column("start_ms", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("first_idx", sa.BigInteger, nullable=False),
    sa.Column("last_idx", sa.BigInteger, nullable=False),
)
reached = sa.Table(
    "index_reached",
    metadata,
    sa.Column("one", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("layout", sa.Integer, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("root", sa.LargeBinary(32), nullable=False),
)
