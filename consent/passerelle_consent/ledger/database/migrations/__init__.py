"""The ledger's tables, revision by revision (Alembic). `migrate` brings a database to the newest.

`sql.metadata` says what the tables are, these revisions how a database that exists gets there; a test holds the two
together. Nothing is released yet, so there is one revision, and whoever adds a table adds it to both.
"""

from pathlib import Path

import sqlalchemy as sa

from passerelle_consent import revisions

VERSION_TABLE = "ledger_version"
"""Its own, so that a city may give the ledger and the consent store one database."""

ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended('passerelle-ledger/' || current_schema(), 0))"
"""Two integrators may start together; SQLite's BEGIN IMMEDIATE lets one write at a time anyway."""


def migrate(conn: sa.Connection) -> None:
    """Bring the database to the newest revision, within the caller's transaction. Raises `revisions.NewerStore`."""
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql(ONE_AT_A_TIME)
    revisions.upgrade(conn, Path(__file__).parent, version_table=VERSION_TABLE)
