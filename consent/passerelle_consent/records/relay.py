"""The relay: outbox rows to Kafka, in order, at least once.

Rows are sent in id order, many at a time; only the unbroken run of rows before the first failure counts as sent, and
all behind it are sent again. A record may so appear twice, but the last one of a subject is always its newest
standing, and its offset is noted only when everything before it is on the broker too.

A crash between the broker's answer and the transaction that notes it repeats rows; it loses and reorders none.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa
import structlog

from passerelle_consent.records import sql
from passerelle_consent.records.ports import Clock, Connect, Producer
from passerelle_consent.records.problems import Problem
from passerelle_consent.records.store import Store
from passerelle_schemas.faults import Fault

ROWS_PER_BATCH = 500
"""Some 100 kB: one or two produce requests a partition, and no more than that is repeated after a failure."""

SAFETY_POLL_S = 1.0
"""A commit wakes the relay at once; this finds what a lost wake-up or another writer of the store left."""

RETRY_S_FIRST, RETRY_S_MAX = 0.05, 5.0
"""Back-off after a failed send: short for a leader election, bounded so that a broker's return is soon noticed."""

STOP_S_MAX = 10.0
"""How long a broken producer may take to close. Beyond it the process must end: it could send old rows later."""

_log = structlog.get_logger("relay")


class RelayBroken(Fault):
    """The producer failed for good and did not close: only a new process may go on."""

    exit_code = 75


class Superseded(RelayBroken):
    """Another process relays: this one has lost the store, whether it knows it yet or not."""


class Undone(Exception):
    """Nothing of a batch stands, or nobody knows; the next producer's start settles it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """A change that is now on the broker, and where. If ``fenced``, the fence must still pass it."""

    change: bytes
    partition: int
    offset: int
    fenced: bool
    at_ms: int


class Relay:
    """One at a time for one store (`store` holds the lock). `run` until cancelled."""

    def __init__(
        self,
        store: Store,
        connect: Connect,
        clock: Clock,
        *,
        on_settled: Callable[[Sequence[Settled]], None],
        on_idle: Callable[[], None] = lambda: None,
    ) -> None:
        """``on_idle`` is called whenever the outbox is empty."""
        self._store = store
        self._connect = connect
        self._clock = clock
        self._on_settled = on_settled
        self._on_idle = on_idle
        self._producer: Producer | None = None
        self._wake = asyncio.Event()
        self._finishing = False
        self.waiting_since_ms: int | None = None
        """When the batch that is not through yet was first tried; None when nothing waits."""

    def wake(self) -> None:
        """Say that there are new rows."""
        self._wake.set()

    def finish(self) -> None:
        """Let `run` end once the outbox is empty."""
        self._finishing = True
        self._wake.set()

    async def run(self) -> None:
        """Send whatever comes. Raises `RelayBroken`."""
        retry_s = RETRY_S_FIRST
        sent = 1
        try:
            while sent or not self._finishing:
                self._wake.clear()
                try:
                    sent = await self.step()
                except Superseded:
                    raise
                except Exception as exc:  # noqa: BLE001 - whatever it was, the rows are still there
                    await self._recover(exc)
                    await asyncio.sleep(retry_s)
                    retry_s = min(2 * retry_s, RETRY_S_MAX)
                    continue
                retry_s = RETRY_S_FIRST
                if not sent and not self._finishing:
                    await self._doze()
        finally:
            await self.close()

    async def step(self) -> int:
        """Send one batch and note it; return how many rows went. Raises what stopped it short."""
        rows = await self._store.read(lambda conn: conn.execute(sql.UNSENT, {"batch": ROWS_PER_BATCH}).all())
        if not rows:
            self.waiting_since_ms = None
            self._on_idle()
            return 0
        if self.waiting_since_ms is None:
            self.waiting_since_ms = self._clock()
        offsets, failure = await self._send(rows)
        if offsets:
            await self._note(rows[: len(offsets)], offsets)
        if failure is not None:
            raise failure
        self.waiting_since_ms = None
        return len(rows)

    async def close(self) -> None:
        """Close the producer, within bounds. Raises `RelayBroken`."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            async with asyncio.timeout(STOP_S_MAX):
                await producer.stop()
        except TimeoutError:
            raise RelayBroken("the producer does not close") from None

    async def _send(self, rows: Sequence[sa.Row[Any]]) -> tuple[list[int], Exception | None]:
        """Send rows; return the offsets of those that stand, and what stopped the rest."""
        producer = await self._connected()
        await producer.begin()
        offsets, failure = await _sent(producer, rows)
        if not await producer.end(failure):
            return [], Undone()
        return offsets, failure

    async def _connected(self) -> Producer:
        """Start a producer if need be, which shuts out the one before; then show that it was ours to start.

        Had another process taken the store since the rows were read, its producer would be shut out now, and these rows
        would be older than those that it sent.
        """
        if self._producer is None:
            producer = await self._connect()
            try:
                await self._store.write(lambda _: None, durable=False)
            except Problem:
                await producer.stop()
                raise
            self._producer = producer
        return self._producer

    async def _note(self, rows: Sequence[sa.Row[Any]], offsets: Sequence[int]) -> None:
        now_ms = self._clock()
        settled = [
            Settled(change=row.settles, partition=row.partition, offset=offset, fenced=row.fenced, at_ms=now_ms)
            for row, offset in zip(rows, offsets, strict=True)
            if row.settles is not None
        ]
        # Lost with the machine's power, it is as if the process had died before it: the rows are sent again.
        await self._store.write(partial(_note_sent, [row.id for row in rows], settled), durable=False)
        self._on_settled(settled)

    async def _recover(self, exc: Exception) -> None:
        """Keep a producer that may do better next time; replace one that said it will not."""
        _log.warning("outbox not sent", error=type(exc).__name__)
        if not getattr(exc, "retriable", False):
            await self.close()

    async def _doze(self) -> None:
        # Not wait_for: in Python 3.11 it loses a cancellation that meets the wake-up.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SAFETY_POLL_S):
                await self._wake.wait()


def _note_sent(ids: Sequence[int], settled: Sequence[Settled], conn: sa.Connection) -> None:
    conn.execute(sql.DELETE_SENT, {"ids": list(ids)})
    if settled:
        conn.execute(sql.WRITTEN, [{"of": s.change, "consent_offset": s.offset, "now_ms": s.at_ms} for s in settled])


async def _sent(producer: Producer, rows: Sequence[sa.Row[Any]]) -> tuple[list[int], Exception | None]:
    """Send rows; return the offsets before the first failure, and that failure."""
    taken: list[asyncio.Future[Any]] = []
    refused: Exception | None = None
    for row in rows:
        try:
            taken.append(await producer.send(row.topic, row.value, row.key, row.partition))
        except Exception as exc:  # noqa: BLE001 - rows behind this one must not pass it
            refused = exc
            break
    offsets: list[int] = []
    failure = refused
    for written in await asyncio.gather(*taken, return_exceptions=True):
        if isinstance(written, BaseException):
            failure = written if isinstance(written, Exception) else RelayBroken("the send was cancelled")
            break
        if written.offset < 0:  # a repeat that the broker knows but no longer places: send it anew
            failure = LookupError("the broker does not say where the record is")
            break
        offsets.append(written.offset)
    return offsets, failure
