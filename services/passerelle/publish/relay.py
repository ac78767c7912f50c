"""The relay of a department's outbox: exactly the rows that were committed, in the order of their ids, each once.

A batch is read, sent, and deleted once the broker has all of it. Which rows it holds is written in its own transaction
(`passerelle.publish.relayed`): after a crash between the last two they are deleted and not sent again. A row that does
not fit its contract becomes a dead letter (a reference and a reason), is set aside in the table, and holds nobody up.
"""

import json
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import structlog

from passerelle.publish.batches import Batches, Waiting
from passerelle.publish.from_json import Misfit, encoded
from passerelle.publish.outbox_table import TABLE, OutboxLost, OutboxRow
from passerelle.publish.outgoing import Prepared, PublishFault, addressed, own_contract
from passerelle.publish.relayed import NOTHING, Sent, mark, sent_last
from passerelle.publish.steady import BrokerAway
from passerelle_consent.wire import DeadLetter
from passerelle_schemas.catalogue import Catalogue, UnknownContract
from passerelle_schemas.faults import Fault
from passerelle_schemas.topics import dead_letter, relayed

COMPONENT = "relay"

POLL_S = 0.5
"""A commit wakes the relay at once; this finds what came without the trigger, or was given back."""
REFUSED_IN_A_ROW_MAX = 2_000
"""Keeps a whole outbox from becoming dead letters when the contract, or the department, is the wrong one."""
HELD_POLL_S = 0.02
"""While rows wait for somebody's open transaction: its end by a rollback wakes nobody."""
HELD_SAID_S = 10.0
"""From when on a held row is worth a line in the log, and how often."""
RETRY_S_FIRST, RETRY_S_MAX = 0.2, 5.0
"""Doubled after each failure in a row."""

_log = structlog.get_logger(COMPONENT)


class RelayFault(Fault):
    """Nothing fits: an operator must look."""

    exit_code = 1


class Table(Waiting, Protocol):
    """What `OutboxTable` does."""

    def delete(self, sent: Collection[tuple[int, str]]) -> None: ...  # noqa: D102 - see there
    def refuse(self, refused: Sequence[tuple[int, str]]) -> None: ...  # noqa: D102 - see there
    def wait(self, seconds: float) -> None: ...  # noqa: D102 - see there


class Sender(Protocol):
    """What `SteadySender` does."""

    def start(self) -> bool: ...  # noqa: D102 - see there
    def last(self, topic: str) -> bytes | None: ...  # noqa: D102 - see there
    def send(self, records: Sequence[Prepared]) -> None: ...  # noqa: D102 - see there


@dataclass(kw_only=True)
class Counts:
    """What a relay has done."""

    published: int = 0
    refused: int = 0
    found: int = 0
    """Rows that the bus had already, from before a crash."""


class Relay:
    """One outbox of one department. ``connect`` opens a session with the table."""

    def __init__(
        self,
        connect: Callable[[], AbstractContextManager[Table]],
        sender: Sender,
        department: str,
        catalogue: Catalogue,
        *,
        patience_s: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """``patience_s``: how long to go on without success before `run` raises what stopped it."""
        self._connect = connect
        self._sender = sender
        self._department = department
        self._catalogue = catalogue
        self._patience_s = patience_s
        self._clock = clock
        self._pause = pause
        self._last_good = clock()
        self._retry_s = RETRY_S_FIRST
        self._refused_in_a_row = 0
        self._sent: Sent | None = None
        self.counts = Counts()

    def run(self, stopping: Callable[[], bool], *, follow: bool = True) -> None:
        """Publish until ``stopping``; without ``follow``, until nothing that was committed is left.

        Raises `OutboxFault`, `ShutOut`, `RelayFault`, and `BrokerAway` or `OutboxLost` when its patience is at an end.
        """
        while not stopping():
            try:
                with self._connect() as table:
                    _log.info("ready", department=self._department)
                    self._drain(table, stopping, follow=follow)
            except (BrokerAway, OutboxLost) as fault:
                if self._clock() - self._last_good > self._patience_s:
                    raise
                _log.warning("outbox not published", why=fault.what, retry_s=self._retry_s)
                self._pause(self._retry_s)
                self._retry_s = min(2 * self._retry_s, RETRY_S_MAX)
            else:
                return

    def _drain(self, table: Table, stopping: Callable[[], bool], *, follow: bool) -> None:
        held_since: float | None = None
        with Batches(table) as batches:
            while not stopping():
                if self.step(table, batches):
                    held_since = None
                    continue
                if not follow and not batches.held:
                    return
                held_since = self._held(batches, held_since)
                table.wait(HELD_POLL_S if batches.held else POLL_S)

    def step(self, table: Table, batches: Batches) -> int:
        """Publish one batch; return how many rows it was. Raises `BrokerAway`, `OutboxLost`."""
        rows = batches.take()
        if rows:
            self._publish(table, rows, batches)
        self._last_good = self._clock()
        self._retry_s = RETRY_S_FIRST
        return len(rows)

    def _publish(self, table: Table, rows: Sequence[OutboxRow], batches: Batches) -> None:
        if self._sender.start():
            self._sent = None
            # Another relay may have had the outbox since these rows were read; if so, this session is no more.
            table.look()
        if self._sent is None:
            self._sent = sent_last(self._sender.last(relayed(self._department)))
        fresh = self._unsent(table, rows)
        batches.go_on(rows)
        if fresh:
            self._send(table, fresh, batches)

    def _unsent(self, table: Table, rows: Sequence[OutboxRow]) -> Sequence[OutboxRow]:
        """Forget what the bus has from before a crash, or a lost session, and return the other rows."""
        if not self._sent:
            return rows
        fresh = [row for row in rows if (row.id, row.event_id) not in self._sent]
        table.delete(self._sent)
        self._sent = NOTHING
        found = len(rows) - len(fresh)
        self.counts.found += found
        if found:
            _log.info("sent before", rows=found)
        return fresh

    def _send(self, table: Table, rows: Sequence[OutboxRow], batches: Batches) -> None:
        good: list[Prepared] = []
        sent: list[tuple[int, str]] = []
        bad: list[tuple[int, str]] = []
        for row in rows:
            try:
                good.append(self._prepared(row))
                sent.append((row.id, row.event_id))
            except (PublishFault, Misfit) as exc:
                bad.append((row.id, str(exc)))
        # A crash before the reason is noted writes letters twice, and loses none.
        letters = [self._letter(row, reason) for row, reason in bad]
        self._sender.send([*letters, *good, mark(self._department, sent)])
        self._sent = frozenset(sent)
        batches.settle()
        if bad:
            table.refuse(bad)
        table.delete(sent)
        self._sent = NOTHING
        self.counts.published += len(good)
        self.counts.refused += len(bad)
        _log.info("batch", published=len(good), refused=len(bad), last_row=rows[-1].id)
        self._refused_in_a_row = 0 if good else self._refused_in_a_row + len(bad)
        if self._refused_in_a_row >= REFUSED_IN_A_ROW_MAX:
            hint = f"mend it, then: passerelle deadletters list --owner {self._department}"
            raise RelayFault(f"no row fits: {bad[-1][1]}, {self._refused_in_a_row} in a row", where=TABLE, hint=hint)

    def _prepared(self, row: OutboxRow) -> Prepared:
        """Raises `PublishFault`, `Misfit`: neither quotes the row."""
        try:
            contract = own_contract(self._catalogue, self._department, row.type)
        except (UnknownContract, PublishFault):
            raise PublishFault(f"the type is not an event that {self._department} publishes") from None
        if row.value is None:
            raise PublishFault("the value is too long")
        value = encoded(contract, json.loads(row.value))
        return addressed(contract, value, pseudonym=row.pseudonym, event_id=row.event_id, time=row.time)

    def _letter(self, row: int, reason: str) -> Prepared:
        letter = DeadLetter(component=COMPONENT, reason=reason, topic=TABLE, partition=0, offset=row)
        return Prepared(topic=dead_letter(self._department), key=b"", value=letter.encode(), headers=[])

    def _held(self, batches: Batches, since: float | None) -> float | None:
        """Say when rows wait long for an open transaction; return since when they do, or were last said to."""
        if not batches.held:
            return None
        now = self._clock()
        if since is not None and now - since > HELD_SAID_S:
            _log.warning("rows wait for an open transaction that writes to the outbox", table=TABLE)
            return now
        return now if since is None else since
