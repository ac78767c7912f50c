"""An inbox as tables, for a department that has a database and no code of its own: all of their SQL.

What the bus says reaches the tables as data: deliveries as rows, with the instant until which they may be kept; an
erasure as the end of the rows about that person, and as a row of its own until the department's copies are gone too;
the end of a retention as the end of its row.
"""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Generic

from passerelle.envelope import rfc3339
from passerelle.publish.from_json import plain
from passerelle.receive.burying import Burying
from passerelle.receive.delivery import Delivery, Erased, InboxFault
from passerelle.receive.positions import Database, T

COMPONENT = "table"
DELIVERIES, ERASURES, CURRENT = "passerelle_deliveries", "passerelle_erasures", "passerelle_current"

AT_ONCE_MAX = 1_000
"""Rows that are deleted, or erasures that are acknowledged, in one transaction."""

_DDL = f"""\
-- What `passerelle inbox into` fills. Add columns, indexes and triggers as you like; rows are the reader's to delete.
CREATE TABLE IF NOT EXISTS {DELIVERIES} (
    -- The decision that let it through, a leaf of the ledger.
    decision_id {{bytes}} PRIMARY KEY,
    flow        text NOT NULL,
    purpose     text NOT NULL,
    -- As in the contracts: <department>.<event>.v<n>, and the id and the source of the event.
    type        text NOT NULL,
    event_id    text NOT NULL,
    source      text NOT NULL,
    -- Your own name for the person: 16 bytes.
    pseudonym   {{bytes}} NOT NULL,
    -- The contract's fields; days and times in ISO 8601; a field that you may not have is null.
    value       {{json}} NOT NULL,
    -- When it happened, when it was released to you, and until when you may keep it: then the row is deleted.
    time        {{time}} NOT NULL,
    released    {{time}} NOT NULL,
    delete_by   {{time}} NOT NULL,
    partition   integer NOT NULL,
    "offset"    bigint  NOT NULL
);
CREATE INDEX IF NOT EXISTS {DELIVERIES}_about ON {DELIVERIES} (pseudonym, flow);
CREATE INDEX IF NOT EXISTS {DELIVERIES}_ends ON {DELIVERIES} (delete_by);

-- People whom the bus has forgotten (GDPR Art. 17, 19). Their rows above are gone already. Erase what you copied out of
-- them, unless the law makes you keep it, then say so, and the reader tells the bus and forgets the pseudonym:
--   UPDATE {ERASURES} SET done_at = {{now}} WHERE erasure_id = …;
-- Where nothing is ever copied, let `done_at` have the default {{now}}.
CREATE TABLE IF NOT EXISTS {ERASURES} (
    erasure_id      {{bytes}} PRIMARY KEY,
    pseudonym       {{bytes}},
    asked_at        {{time}} NOT NULL,
    done_at         {{time}},
    acknowledged_at {{time}}
);

-- The latest of each flow about each person.
{{view}} {CURRENT} AS
SELECT decision_id, flow, purpose, type, event_id, source, pseudonym, value, time, released, delete_by
  FROM (SELECT d.*, row_number() OVER (PARTITION BY pseudonym, flow ORDER BY time DESC, "offset" DESC) AS nth
          FROM {DELIVERIES} AS d) AS ordered
 WHERE nth = 1;
"""  # noqa: S608 - constants of ours

DDL_POSTGRESQL = _DDL.format(
    bytes="bytea", json="jsonb", time="timestamptz", now="now()", view="CREATE OR REPLACE VIEW"
) + (f"-- GRANT SELECT, INSERT, UPDATE, DELETE ON {DELIVERIES}, {ERASURES} TO <the reader's role>;\n")
DDL_SQLITE = _DDL.format(
    bytes="blob", json="text", time="text", now="CURRENT_TIMESTAMP", view="CREATE VIEW IF NOT EXISTS"
)

_UPSERT = f"""
INSERT INTO {DELIVERIES} (decision_id, flow, purpose, type, event_id, source, pseudonym, value, time, released,
                          delete_by, partition, "offset")
VALUES (:decision_id, :flow, :purpose, :type, :event_id, :source, :pseudonym, :value, :time, :released,
        :delete_by, :partition, :offset)
ON CONFLICT (decision_id) DO UPDATE SET value = excluded.value, delete_by = excluded.delete_by,
                                        partition = excluded.partition, "offset" = excluded."offset"
"""  # noqa: S608 - constants of ours
_ERASE = f"DELETE FROM {DELIVERIES} WHERE pseudonym = :pseudonym"  # noqa: S608 - the same
_ERASED = f"""
INSERT INTO {ERASURES} (erasure_id, pseudonym, asked_at) VALUES (:erasure_id, :pseudonym, :asked_at)
ON CONFLICT DO NOTHING
"""  # noqa: S608 - the same
_END = f"""
DELETE FROM {DELIVERIES} WHERE decision_id IN
       (SELECT decision_id FROM {DELIVERIES} WHERE delete_by <= :now ORDER BY delete_by LIMIT {AT_ONCE_MAX})
RETURNING decision_id
"""  # noqa: S608 - the same
_DONE = f"""
SELECT erasure_id FROM {ERASURES} WHERE done_at IS NOT NULL AND acknowledged_at IS NULL
 ORDER BY done_at LIMIT {AT_ONCE_MAX}
"""  # noqa: S608 - the same
_ACKNOWLEDGED = f"""
UPDATE {ERASURES} SET acknowledged_at = :at, pseudonym = NULL WHERE erasure_id = :erasure_id
"""  # noqa: S608 - the same


class _NotHeld(Exception):
    """Why no table can hold it; quotes nothing."""


class InboxTables(Generic[T]):
    """The handlers of a `TransactionalInbox`, `put` and `erase`, and what is done to the tables beside.

    ``until`` tells a delivery's last instant (`receive.retention`).
    """

    def __init__(self, database: Database[T], burying: Burying, until: Callable[[Delivery], datetime | None]) -> None:
        self._database = database
        self._burying = burying
        self._until = until

    async def put(self, delivery: Delivery, transaction: T) -> None:
        """Insert a delivery, or bury one that no table can hold. Raises `InboxFault`, `DatabaseFault`."""
        by = self._until(delivery)
        if by is None:
            place = f"inbox[{delivery.partition}]@{delivery.offset}"
            what = f"nobody here knows until when a delivery of {delivery.flow} may be kept"
            raise InboxFault(what, where=place, hint="bring this department's flows and agreements up to date")
        try:
            row = _row(delivery, by)
        except _NotHeld as exc:
            await self._burying.bury(delivery, str(exc))
            return
        await self._database.run(transaction, _UPSERT, row)
        self._burying.taken()

    async def erase(self, erased: Erased, transaction: T) -> None:
        """Delete all that is about a person, and leave the notice for the department's own copies."""
        await self._database.run(transaction, _ERASE, {"pseudonym": erased.pseudonym})
        notice = {
            "erasure_id": erased.erasure_id,
            "pseudonym": erased.pseudonym,
            "asked_at": rfc3339(erased.time),
        }
        await self._database.run(transaction, _ERASED, notice)

    async def end(self, now: datetime) -> int:
        """Delete some of what may not be kept any longer; return how many, `AT_ONCE_MAX` at most."""
        async with self._database.transaction() as transaction:
            return len(await self._database.run(transaction, _END, {"now": rfc3339(now)}))

    async def done(self) -> list[bytes]:
        """Return erasures of which the department says that they are done, and the bus does not know yet."""
        async with self._database.transaction() as transaction:
            return [bytes(row[0]) for row in await self._database.run(transaction, _DONE, {})]

    async def acknowledged(self, erasure_id: bytes, now: datetime) -> None:
        """Note that the bus knows, and forget the pseudonym."""
        async with self._database.transaction() as transaction:
            await self._database.run(transaction, _ACKNOWLEDGED, {"at": rfc3339(now), "erasure_id": erasure_id})


def _row(delivery: Delivery, by: datetime) -> dict[str, object]:
    texts = {name: getattr(delivery, name) for name in ("flow", "purpose", "type", "event_id", "source")}
    try:
        value = json.dumps(plain(delivery.value), ensure_ascii=False, allow_nan=False)
    except ValueError:
        raise _NotHeld("a number is not finite, which JSON does not have (RFC 8259 §6)") from None
    if "\\u0000" in (value + json.dumps(texts)).replace("\\\\", ""):
        raise _NotHeld("a text holds a zero character, which PostgreSQL does not have")
    return {
        **texts,
        "decision_id": delivery.decision_id,
        "pseudonym": delivery.pseudonym,
        "value": value,
        "time": rfc3339(delivery.time),
        "released": rfc3339(delivery.appended),
        "delete_by": rfc3339(by),
        "partition": delivery.partition,
        "offset": delivery.offset,
    }
