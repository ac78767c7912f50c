"""`passerelle_outbox`, a table in a department's own PostgreSQL: all of its SQL, and the session that reads it.

A department inserts into it in the transaction that changes its own data; what was rolled back is never published.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import NamedTuple, Self

import psycopg

from passerelle.publish.horizon import PREPARED
from passerelle_schemas.faults import Fault

TABLE = "passerelle_outbox"

VALUE_BYTES_MAX = 64 << 10
"""Of a value as text. The largest contracts take some kilobytes; a batch of these is 64 MB."""

BATCH_ROWS = 1_000
"""Some 300 kB of usual events: what is sent again after a crash, and what a row waits for those before it."""

CONNECT_S_MAX = 5
STATEMENT_MS_MAX = 30_000
"""No statement here takes a second; a lock that somebody took on the whole table is reported, not waited for."""

DDL = f"""\
-- The outbox of a department, for PostgreSQL 14 or newer: `passerelle publish outbox run` publishes what is inserted.
-- Insert in the transaction that changes your own data. Rows are deleted once the bus has them.
CREATE TABLE IF NOT EXISTS {TABLE} (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The event's id on the bus, the same in every repeat.
    event_id   uuid        NOT NULL DEFAULT gen_random_uuid(),
    -- As in the contracts: <department>.<event>.v<n>.
    type       text        NOT NULL,
    -- Your own name for the person, from `passerelle publish link`: decode('<32 hexadecimal digits>', 'hex').
    pseudonym  bytea       NOT NULL CHECK (octet_length(pseudonym) = 16),
    -- The contract's fields; days and times in ISO 8601.
    value      jsonb       NOT NULL,
    -- When it happened.
    time       timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Why the bus did not take it: then the row stays here.
    refused    text,
    refused_at timestamptz
);
CREATE INDEX IF NOT EXISTS {TABLE}_waiting ON {TABLE} (id) WHERE refused IS NULL;

-- Wakes the relay at the commit. Without it, rows are found by polling, half a second later.
CREATE OR REPLACE FUNCTION {TABLE}_wake() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_notify('{TABLE}', ''); RETURN NULL; END $$;
CREATE OR REPLACE TRIGGER {TABLE}_wake AFTER INSERT ON {TABLE} FOR EACH STATEMENT EXECUTE FUNCTION {TABLE}_wake();

-- The relay needs no more than this (and USAGE of the schema):
-- GRANT SELECT, DELETE, UPDATE (refused, refused_at) ON {TABLE} TO <the relay's role>;
"""

# Whoever inserts holds this lock on the table from before it draws an id until its transaction ends.
_LOOK = f"""
SELECT (SELECT max(id) FROM {TABLE} WHERE refused IS NULL),
       ARRAY(SELECT CASE WHEN pid IS NULL THEN '{PREPARED}' ELSE virtualtransaction END FROM pg_locks
              WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted
                AND relation = '{TABLE}'::regclass
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""  # noqa: S608 - a constant of ours
_READ = f"""
SELECT id, event_id::text, type, pseudonym, time, CASE WHEN octet_length(text) <= %(bytes)s THEN text END
  FROM (SELECT id, event_id, type, pseudonym, time, value::text AS text FROM {TABLE}
         WHERE refused IS NULL AND id > %(after)s AND id <= %(settled)s ORDER BY id LIMIT %(rows)s) AS waiting
 ORDER BY id
"""  # noqa: S608 - a constant of ours
# By their ids: a row that an operator gave back meanwhile may have a lower one, and was not sent. By their events too:
# in a table that was made anew since, a row may have the number of one that was sent.
_DELETE = f"DELETE FROM {TABLE} WHERE id = ANY(%(ids)s::bigint[]) AND event_id = ANY(%(events)s::uuid[])"  # noqa: S608
_REFUSE = f"UPDATE {TABLE} SET refused = %(reason)s, refused_at = now() WHERE id = %(id)s"  # noqa: S608 - the same
_GIVE_BACK = f"UPDATE {TABLE} SET refused = NULL, refused_at = NULL WHERE id = %(id)s AND refused IS NOT NULL"  # noqa: S608
_DISCARD = f"DELETE FROM {TABLE} WHERE id = %(id)s AND refused IS NOT NULL"  # noqa: S608 - a constant of ours
_TAKE = f"SELECT pg_try_advisory_lock(hashtextextended('{TABLE}/' || current_schema(), 0))"
_LISTEN = f"LISTEN {TABLE}"


class OutboxFault(Fault):
    """The department's database cannot be used."""


class OutboxLost(OutboxFault):
    """The session ended: a new one may go on."""

    exit_code = 75


class OutboxRow(NamedTuple):
    """A row that was committed and not yet published, as `read` selects it. Made for every row: a plain tuple."""

    id: int
    event_id: str
    type: str
    pseudonym: bytes
    time: datetime
    value: str | None
    """JSON text, None when it is too long."""

    def __repr__(self) -> str:
        """Who and what it is about belongs in no log."""
        return f"OutboxRow(id={self.id}, event_id={self.event_id!r}, type={self.type!r})"


class OutboxTable:
    """One session, which has the outbox to itself. A context manager. Raises `OutboxFault`, `OutboxLost`."""

    full = BATCH_ROWS

    def __init__(self, database: str, *, alone: bool = True) -> None:
        """``alone`` takes the lock of the one relay; an operator who gives rows back needs none."""
        self._database = database.replace("postgresql+psycopg://", "postgresql://", 1)
        self._alone = alone
        self._session: psycopg.Connection | None = None

    def __enter__(self) -> Self:
        with self._faults(OutboxFault):
            self._session = psycopg.connect(
                self._database,
                autocommit=True,
                connect_timeout=CONNECT_S_MAX,
                options=f"-c statement_timeout={STATEMENT_MS_MAX} -c lock_timeout={STATEMENT_MS_MAX}",
                application_name="passerelle-outbox",
            )
            try:
                self._prepare(self._session)
            except BaseException:
                self._session.close()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            self._session.close()

    def look(self) -> tuple[int, frozenset[str]]:
        """Return the highest id that waits, and the transactions that have the table open to write (`Horizon`)."""
        with self._faults(OutboxLost):
            newest, writers = self._open().execute(_LOOK).fetchone() or (None, [])
        return newest or 0, frozenset(writers)

    def read(self, settled: int, *, after: int = 0) -> list[OutboxRow]:
        """Return the first rows behind the id ``after`` that wait, in order, none above ``settled``."""
        bounds = {"after": after, "settled": settled, "rows": BATCH_ROWS, "bytes": VALUE_BYTES_MAX}
        with self._faults(OutboxLost):
            found = self._open().execute(_READ, bounds, binary=True).fetchall()
        return [OutboxRow._make(row) for row in found]

    def delete(self, sent: Collection[tuple[int, str]]) -> None:
        """Forget rows that are published: (id, event id)."""
        # As text: the driver looks at each item of a list before it sends it.
        rows, events = zip(*sent, strict=True) if sent else ((), ())
        columns = {"ids": f"{{{','.join(map(str, rows))}}}", "events": f"{{{','.join(events)}}}"}
        with self._faults(OutboxLost):
            self._open().execute(_DELETE, columns)

    def refuse(self, refused: Sequence[tuple[int, str]]) -> None:
        """Set rows aside with the reason why they cannot be published: they stay, and hold nobody up."""
        with self._faults(OutboxLost), self._open().transaction(), self._open().cursor() as cursor:
            cursor.executemany(_REFUSE, [{"id": row, "reason": reason} for row, reason in refused])

    def give_back(self, row: int) -> bool:
        """Let the relay try a refused row again; return whether there is one."""
        with self._faults(OutboxLost):
            return self._open().execute(_GIVE_BACK, {"id": row}).rowcount == 1

    def discard(self, row: int) -> bool:
        """Delete a refused row; return whether there was one."""
        with self._faults(OutboxLost):
            return self._open().execute(_DISCARD, {"id": row}).rowcount == 1

    def wait(self, seconds: float) -> None:
        """Wait until somebody commits, at most so long."""
        with self._faults(OutboxLost):
            for _ in self._open().notifies(timeout=seconds, stop_after=1):
                pass

    def _prepare(self, session: psycopg.Connection) -> None:
        if session.execute("SELECT to_regclass(%s)", (TABLE,)).fetchone() == (None,):
            raise OutboxFault(
                f"has no table {TABLE}", where=self._where(), hint="make it: passerelle publish outbox ddl"
            )
        if not self._alone:
            return
        if session.execute(_TAKE).fetchone() != (True,):
            raise OutboxLost("another relay reads this outbox", where=self._where(), hint="stop that one first")
        session.execute(_LISTEN)

    def _open(self) -> psycopg.Connection:
        if self._session is None:
            raise OutboxFault("the outbox is not open")
        return self._session

    @contextmanager
    def _faults(self, kind: type[OutboxFault]) -> Iterator[None]:
        """Turn the driver's errors into ours: the class alone, since a message may quote a row."""
        try:
            yield
        except psycopg.OperationalError as exc:
            raise kind(f"the database does not answer ({type(exc).__name__})", where=self._where()) from None
        except psycopg.errors.InsufficientPrivilege:
            hint = "which rights it needs: passerelle publish outbox ddl"
            raise OutboxFault("this role may not do that", where=self._where(), hint=hint) from None
        except psycopg.Error as exc:
            raise OutboxFault(f"the outbox cannot be used ({type(exc).__name__})", where=self._where()) from None

    def _where(self) -> str:
        """Host and database, never the password."""
        try:
            parts = psycopg.conninfo.conninfo_to_dict(self._database)
        except psycopg.Error:
            return "the database"
        return f"{parts.get('host', 'local')}/{parts.get('dbname', '')}"
