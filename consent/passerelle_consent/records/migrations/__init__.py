"""The store's tables, revision by revision (Alembic). `migrate` brings a database to the newest.

`sql.metadata` says what the tables are, these revisions how a database that exists gets there; a test holds the two
together. Nothing is released yet, so there is one revision, and whoever adds a table adds it to both.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from passerelle_schemas.faults import Fault


class NewerStore(Fault):
    """The database was made by a later release, whose tables this one does not know."""


def migrate(conn: sa.Connection) -> None:
    """Bring the database to the newest revision, within the caller's transaction. Raises `NewerStore`."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")  # a folder's name may hold any other
    scripts = ScriptDirectory.from_config(config)
    held = MigrationContext.configure(conn).get_current_heads()
    known = {revision.revision for revision in scripts.walk_revisions()}
    if not known.issuperset(held):
        raise NewerStore(
            f"made by a later release (revision {', '.join(held)})", hint="install that release or a later one"
        )
    if set(held) == set(scripts.get_heads()):
        return
    with EnvironmentContext(
        config,
        scripts,
        fn=lambda revision, _context: scripts._upgrade_revs("head", revision),  # noqa: SLF001 - as `command.upgrade` does
        destination_rev="head",
    ) as environment:
        # The caller's transaction holds all of it, on SQLite too: a crash in the middle leaves what was there.
        environment.configure(connection=conn, transactional_ddl=True)
        environment.run_migrations()
