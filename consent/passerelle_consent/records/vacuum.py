"""What PostgreSQL keeps of deleted rows, thrown away: every table written anew (decision record 0003).

SQLite overwrites what it deletes, and needs none of this.
"""

from collections.abc import Iterator

import sqlalchemy as sa

from passerelle_consent.records import sql
from passerelle_consent.records.database import StoreFault, cannot_open

LOCK_MS = 5_000
"""How long to wait for a table. The service gives up sooner, and answers 503 while the one it needs is rewritten."""


def vacuum(url: str) -> Iterator[str]:
    """Rewrite the store's tables one after the other, and yield their names. Raises `StoreFault`.

    Every table that there is, since a row of any may be about somebody.
    """
    at = sa.make_url(url)
    where = f"{at.host or 'local'}/{at.database}"
    if at.get_backend_name() != "postgresql":
        raise StoreFault("overwrites what it deletes: there is nothing to vacuum", where="PASSERELLE_CONSENT_STORE")
    engine = sa.create_engine(at, isolation_level="AUTOCOMMIT", connect_args={"options": f"-c lock_timeout={LOCK_MS}"})
    try:
        with engine.connect() as conn:
            for table in sql.metadata.sorted_tables:
                conn.exec_driver_sql(f"VACUUM (FULL, ANALYZE) {table.name}")
                yield table.name
    except sa.exc.SQLAlchemyError as exc:
        raise cannot_open(exc, where) from None
    finally:
        engine.dispose()
