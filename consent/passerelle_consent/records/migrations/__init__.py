"""The store's tables, revision by revision (Alembic). `migrate` brings a database to the newest.

`sql.metadata` says what the tables are, these revisions how a database that exists gets there; a test holds the two
together. Nothing is released yet, so there is one revision, and whoever adds a table adds it to both.
"""

from pathlib import Path

import sqlalchemy as sa

from passerelle_consent import revisions


def migrate(conn: sa.Connection) -> None:
    """Bring the database to the newest revision, within the caller's transaction. Raises `revisions.NewerStore`."""
    revisions.upgrade(conn, Path(__file__).parent)
