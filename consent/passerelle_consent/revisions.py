"""Bring a database to the newest of its revisions (Alembic). The consent store and the ledger each have their own."""

from pathlib import Path

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from passerelle_schemas.faults import Fault


class NewerStore(Fault):
    """The database was made by a later release, whose tables this one does not know."""


def upgrade(conn: sa.Connection, folder: Path, *, version_table: str = "alembic_version") -> None:
    """Apply what ``folder`` has and the database has not, within the caller's transaction. Raises `NewerStore`.

    Where two processes may do so at once, the caller keeps them apart.
    """
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")  # a folder's name may hold any other
    scripts = ScriptDirectory.from_config(config)
    held = MigrationContext.configure(conn, opts={"version_table": version_table}).get_current_heads()
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
        environment.configure(connection=conn, transactional_ddl=True, version_table=version_table)
        environment.run_migrations()
