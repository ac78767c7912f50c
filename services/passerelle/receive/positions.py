"""`passerelle_inbox`, a small table in a recipient's own database: how far its inbox was read. All of its SQL.

The position of a partition moves in the transaction that applies what was read, so both are committed or neither is.
That table is the truth: Kafka's committed offset is a hint for those who watch the lag, and is never read.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

from passerelle_schemas.faults import Fault

TABLE = "passerelle_inbox"

DDL = f"""\
-- How far a department's inbox was read, for `passerelle inbox into` and for handlers of your own. One row a partition.
CREATE TABLE IF NOT EXISTS {TABLE} (
    topic       text    NOT NULL,
    partition   integer NOT NULL,
    -- The offset that is read next. Moved in the transaction that applies what stands before it: leave it alone.
    next_offset bigint  NOT NULL CHECK (next_offset >= 0),
    PRIMARY KEY (topic, partition)
);
"""

POSTGRESQL_RIGHTS = f"""\
-- The reader needs (beside what your own handler does, and USAGE of the schema):
-- GRANT SELECT, INSERT, UPDATE ON {TABLE} TO <the reader's role>;
"""

_READ = f"SELECT partition, next_offset FROM {TABLE} WHERE topic = :topic"  # noqa: S608 - a constant of ours
_BEGIN = f"INSERT INTO {TABLE} VALUES (:topic, :partition, :at) ON CONFLICT DO NOTHING"  # noqa: S608 - the same
# The row stays locked until the transaction ends: a second reader of the partition waits here, and then finds that
# it is not where it believed.
_ADVANCE = f"""
UPDATE {TABLE} SET next_offset = :to WHERE topic = :topic AND partition = :partition AND next_offset = :at
RETURNING next_offset
"""  # noqa: S608 - a constant of ours

T = TypeVar("T")
"""An open transaction, as its driver has it."""

Rows = Sequence[Sequence[Any]]


class DatabaseFault(Fault):
    """The recipient's database cannot be used."""


class DatabaseLost(DatabaseFault):
    """The session ended, or something was locked: the transaction is undone, and a new one may go through."""

    exit_code = 75


class Database(Protocol[T]):
    """A recipient's database: `PostgreSQL` or `SQLite` here; for another driver these two methods are enough."""

    def transaction(self) -> AbstractAsyncContextManager[T]:
        """Begin; commit at the end, or undo when the block raises. Raises `DatabaseLost`: begin again."""

    async def run(self, transaction: T, statement: str, values: Mapping[str, Any]) -> Rows:
        """Run one statement with ``:name`` parameters: text, whole numbers, bytes, None. Raises `DatabaseFault`."""


_PARAMETER = re.compile(r":([a-z_]+)")


def pyformat(statement: str) -> bytes:
    """Write ``:name`` as ``%(name)s``, for drivers that want it so (PEP 249)."""
    return _PARAMETER.sub(r"%(\1)s", statement).encode()


async def read(database: Database[T], transaction: T, topic: str) -> dict[int, int]:
    """Return the positions by partition."""
    return {int(row[0]): int(row[1]) for row in await database.run(transaction, _READ, {"topic": topic})}


async def begin(database: Database[T], transaction: T, topic: str, partition: int, at: int) -> None:
    """Begin at an offset, unless somebody has begun."""
    await database.run(transaction, _BEGIN, {"topic": topic, "partition": partition, "at": at})


async def advance(database: Database[T], transaction: T, topic: str, partition: int, *, at: int, to: int) -> bool:
    """Move a position on; False when it is not ``at`` that offset any more: another reader has moved it."""
    values = {"topic": topic, "partition": partition, "at": at, "to": to}
    return bool(await database.run(transaction, _ADVANCE, values))
