"""The consent service without HTTP: what it does on request, and its background work.

Three tasks run beside the requests: the relay (outbox → Kafka), the fence reader, and the acknowledger, which writes
down what the fence has passed. A request waits for its change with patience; the change goes on without it.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import structlog

from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_consent.policy.decide import Decision, DecisionTable
from passerelle_consent.policy.flows import Flow
from passerelle_consent.policy.standing import UNKNOWN_SUBJECT, Standing
from passerelle_consent.receipts.keys import KeySet
from passerelle_consent.receipts.parties import Controller
from passerelle_consent.receipts.seal import Seal
from passerelle_consent.records import (
    changes,
    consultations,
    erasure,
    expiry,
    fence,
    guardians,
    links,
    objections,
    policy_book,
    problems,
    sql,
    standings,
)
from passerelle_consent.records.changes import Asked, Change
from passerelle_consent.records.database import Script
from passerelle_consent.records.effects import Effect, Effects, within
from passerelle_consent.records.log import PublishedLog
from passerelle_consent.records.lookups import Lookups
from passerelle_consent.records.policy_book import PolicyBook
from passerelle_consent.records.ports import (
    Clock,
    Connect,
    FenceConsumer,
    IdentityRegister,
    LedgerAway,
    NewId,
    Principal,
    SubjectEntries,
    SubjectRef,
)
from passerelle_consent.records.problems import Problem
from passerelle_consent.records.reading import Audits, Reading, check
from passerelle_consent.records.relay import Relay, Settled
from passerelle_consent.records.store import Store
from passerelle_consent.wire import JournalEntry
from passerelle_schemas.catalogue import Catalogue

T = TypeVar("T")

PATIENCE_S = 2.0
"""How long a request waits for its change to take effect before it is told where to look (DESIGN §7)."""

STUCK_MS = 10_000
"""A batch that the broker has not taken for so long: the service is not ready, though it still records."""

REMEMBER_KEYS_MS = 24 * 3_600_000
"""How long an Idempotency-Key is remembered: longer than any client repeats a request."""

DRAIN_S = 5.0
"""How long an orderly stop waits for the broker to take what is left in the outbox."""

ROLL_MS = 12 * 3_600_000
"""How often `consent` is appended to so that its segments close: with the topic's own settings, what an erased subject
last said is gone from a quiet partition after two days (decision record 0003)."""

RELAY = "relay"
HOUSEKEEPING_S = 600.0
STORE_RETRY_S = 1.0

_log = structlog.get_logger("records")


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """All that the composition root injects."""

    store: Store
    bundle: PolicyBundle
    register: IdentityRegister
    connect: Connect
    fence_consumer: FenceConsumer
    ledger: SubjectEntries
    log: PublishedLog
    clock: Clock
    new_id: NewId
    partitions: int
    controller: Controller
    seal: Seal
    receipt_keys: KeySet
    registrars: frozenset[str] = frozenset()
    """Departments whose officers record guardians and emancipations. Without any, nobody does."""
    patience_s: float = PATIENCE_S
    on_broken: Callable[[BaseException], None] = lambda _: None
    """Called when a background task ended by a fault that only a new process mends."""


class Records:
    """The service. `start` before use, `stop` after."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._book = PolicyBook(parts.bundle.agreements)
        self._effects = Effects()
        self._fence = fence.Fence(parts.partitions)
        self._audits = Audits(parts.new_id)
        self._lookups = Lookups(parts.log)
        self._table: DecisionTable | None = None
        self._relay = Relay(parts.store, parts.connect, parts.clock, on_settled=self._settled, on_idle=self._idle)
        self._unswept = True  # a last life may have ended before its sweep
        self._chores_due = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def register(self) -> IdentityRegister:
        """The bus's keys over people."""
        return self._parts.register

    @property
    def book(self) -> PolicyBook:
        """The agreements as they may be spoken about."""
        return self._book

    @property
    def catalogue(self) -> Catalogue:
        """The contracts of the policy in force."""
        return self._parts.bundle.catalogue

    @property
    def flows(self) -> Sequence[Flow]:
        """The flows of the policy in force."""
        return self._parts.bundle.flows

    @property
    def policy(self) -> bytes:
        """The digest of the policy in force."""
        return self._parts.bundle.digest

    @property
    def controller(self) -> Controller:
        """Who answers for the city's processing."""
        return self._parts.controller

    @property
    def seal(self) -> Seal:
        """The city's key for receipts."""
        return self._parts.seal

    @property
    def receipt_keys(self) -> KeySet:
        """The public keys of all receipts that the city ever signed."""
        return self._parts.receipt_keys

    @property
    def registrars(self) -> frozenset[str]:
        """Departments whose officers record guardians and emancipations."""
        return self._parts.registrars

    @property
    def partitions(self) -> int:
        """Of every per-subject topic."""
        return self._parts.partitions

    def new_id(self) -> bytes:
        """Make an id, before anything is written."""
        return self._parts.new_id()

    def now_ms(self) -> int:
        """Epoch milliseconds, of the service's clock."""
        return self._parts.clock()

    async def start(self) -> None:
        """Open the store, publish the policy if it is new, wait again for what had not taken effect, then run.

        Raises `StoreFault`, `BadBundle`, `NotItsResult`.
        """
        p = self._parts
        for name in p.receipt_keys.unreadable():
            _log.warning("a public key of receipts cannot be read", kid=name)
        await p.store.open()
        published = await p.store.write(
            partial(
                policy_book.publish,
                bundle=p.bundle,
                at_ms=p.clock(),
                new_id=p.new_id,
                partitions=p.partitions,
            )
        )
        for row in await p.store.read(lambda conn: conn.execute(sql.TAKING_EFFECT).all()):
            self._fence.expect(row.consent_partition, row.consent_offset, row.id)
        _log.info("policy", digest=p.bundle.digest.hex(), published=published, taking_effect=self._fence.waiting)
        self._run(p.store.held(), "store")
        self._run(self._relay.run(), RELAY)
        self._run(fence.follow(p.fence_consumer, self._fence), "fence-reader")
        self._run(self._acknowledge(), "acknowledger")
        self._run(self._keep_house(), "housekeeping")

    async def stop(self) -> None:
        """End the tasks, the relay last and with its outbox empty if the broker lets it; close the store.

        What the outbox still holds is sent at the next start.
        """
        relay = [task for task in self._tasks if task.get_name() == RELAY]
        await _end([task for task in self._tasks if task not in relay])
        self._relay.finish()
        if relay:
            await asyncio.wait(relay, timeout=DRAIN_S)
        await _end(relay)
        self._lookups.close()
        await self._parts.store.close()

    def not_ready(self) -> str | None:
        """Say why the service cannot do all of its work now, or None."""
        ended = [task.get_name() for task in self._tasks if task.done()]
        if ended or not self._tasks:
            return f"not running: {', '.join(ended) or 'anything'}"
        since_ms = self._relay.waiting_since_ms
        if since_ms is not None and self._parts.clock() - since_ms > STUCK_MS:
            return "the broker does not take what was recorded"
        return None

    async def link(self, department: str, refs: Sequence[SubjectRef], minors: Mapping[SubjectRef, int]) -> bool:
        """Link subjects to a department. Returns whether the bus has been told of all of them yet."""
        p = self._parts
        batch = p.new_id()
        with self._effects.expecting(batch) as told:
            script = partial(
                links.link,
                refs=refs,
                minors=minors,
                department=department,
                at_ms=p.clock(),
                batch=batch,
                new_id=p.new_id,
                partitions=p.partitions,
            )
            if not await p.store.write(script):
                return True
            self._relay.wake()
            return await within(p.patience_s, told) is not None

    async def change(self, asked: Asked, script: Script[Change]) -> Change:
        """Run the script that makes this change; wait until it is in effect, or patience ends. Raises `Problem`."""
        with self._effects.expecting(asked.id) as done:
            change = await self._parts.store.write(partial(changes.once, asked=asked, script=script))
            if change.id == asked.id:
                self._relay.wake()
                return await self._later(change, done)
        with self._effects.expecting(change.id) as done:  # a repeat waits for what it repeats
            current = await self.find(change.id) or change
            return current if current.in_effect else await self._later(current, done)

    async def read(self, script: Script[T]) -> T:
        """Run a script that writes nothing. Raises `Problem`."""
        return await self._parts.store.read(script)

    async def write(self, script: Script[T]) -> T:
        """Run a script that changes nobody's standing; when this returns it is on disk. Raises `Problem`."""
        done = await self._parts.store.write(script)
        self._relay.wake()
        return done

    async def show(self, script: Script[T], reading: Reading | None) -> T:
        """Run a script that writes nothing; when somebody else than the subject reads, the journal tells."""
        return await (self.read(script) if reading is None else self.write(reading.of(script)))

    async def admit_reading(self, ref: SubjectRef, guardian: SubjectRef | None, reading: Reading | None) -> None:
        """Check that there is such a subject, and journal the reading. Raises `Problem`."""
        await self.show(partial(check, ref=ref, guardian=guardian, now_ms=self._parts.clock()), reading)

    async def from_ledger(self, ask: Callable[[SubjectEntries], T]) -> T:
        """Ask the ledger, on a thread. Raises `Problem` ledger-unavailable."""
        try:
            return await asyncio.to_thread(ask, self._parts.ledger)
        except LedgerAway as away:
            _log.warning("ledger away", error=str(away))
            raise Problem(problems.LEDGER_UNAVAILABLE) from None

    async def from_log(self, ask: Callable[[PublishedLog], T]) -> T:
        """Ask the published log. Raises `Problem` ledger-unavailable, overloaded, and what ``ask`` raises."""
        return await self._lookups.ask(ask)

    async def tell(self, entry: JournalEntry) -> None:
        """Journal an entry; when this returns it is on disk. Raises `Problem`."""
        row = standings.journal_row(entry, self._parts.partitions)
        await self.write(partial(standings.tell, rows=[row]))

    async def tell_audit(self, principal: Principal) -> None:
        """Journal that an auditor reads the log at large, once an hour. Raises `Problem`."""
        await self._audits.told(principal, self._parts.clock(), self.tell)

    def new_reading(self, ref: SubjectRef, **by: Any) -> Reading:
        """Give a reading its id and its time."""
        p = self._parts
        return Reading(id=p.new_id(), ref=ref, at_ms=p.clock(), partitions=p.partitions, **by)

    async def standing(
        self, ref: SubjectRef, *, guardian: SubjectRef | None = None, reading: Reading | None = None
    ) -> Standing:
        """Raises `Problem` unknown-subject; and, when a guardian asks, not-guardian."""
        now_ms = self._parts.clock()
        if guardian is not None:
            await self.read(partial(guardians.check, guardian=guardian, ward=ref, at_ms=now_ms))
        return await self.show(partial(standings.load, ref=ref, now_ms=now_ms), reading)

    async def decide(self, ref: SubjectRef, flow: str) -> Decision:
        """Decide about a flow as the gate would now, by what is recorded: ahead of the gate, never behind it."""
        if self._table is None:
            self._table = self._parts.bundle.table()
        now_ms = self._parts.clock()
        try:
            standing = await self.read(partial(standings.load, ref=ref, now_ms=now_ms))
        except Problem as problem:
            if problem.kind is not problems.UNKNOWN_SUBJECT:
                raise
            standing = UNKNOWN_SUBJECT
        return self._table.decide(flow, standing, now_ms)

    async def find(self, change_id: bytes) -> Change | None:
        """Return a change by its id."""
        return await self.read(partial(changes.find, change_id=change_id))

    def new_asked(self, ref: SubjectRef, department: str, principal: str, **repeat: Any) -> Asked:
        """Give a request its id and its time."""
        p = self._parts
        return Asked(
            id=p.new_id(),
            ref=ref,
            department=department,
            principal=principal,
            at_ms=p.clock(),
            partitions=p.partitions,
            **repeat,
        )

    async def _later(self, change: Change, done: asyncio.Future[Effect]) -> Change:
        effect = await within(self._parts.patience_s, done)
        if effect is None:
            return change
        return replace(change, consent_offset=effect.consent_offset, acknowledged_at_ms=effect.at_ms)

    def _settled(self, settled: Sequence[Settled]) -> None:
        for s in settled:
            if s.fenced:
                self._fence.expect(s.partition, s.offset, s.change)
            else:
                self._effects.happened(s.change, Effect(consent_offset=s.offset, at_ms=s.at_ms))

    async def _acknowledge(self) -> None:
        p = self._parts
        while True:
            ids = await self._fence.passed()
            try:
                acknowledging = partial(erasure.acknowledge, ids=ids, now_ms=p.clock(), partitions=p.partitions)
                # Not durable: lost with the machine's power, it is done again when the fence is read anew.
                done = await p.store.write(acknowledging, durable=False)
            except Problem:
                self._fence.put_back(ids)
                await asyncio.sleep(STORE_RETRY_S)
                continue
            self._relay.wake()
            self._unswept |= any(change.kind == changes.ERASURE for change in done)
            for change in done:
                effect = Effect(consent_offset=change.consent_offset, at_ms=change.acknowledged_at_ms or p.clock())
                self._effects.happened(change.id, effect)

    def _idle(self) -> None:
        """The outbox is empty: no row of it holds the ref of a subject that was erased."""
        if self._unswept:
            self._unswept = False
            self._chores_due.set()

    async def _keep_house(self) -> None:
        p = self._parts
        roll = partial(erasure.roll, every_ms=ROLL_MS, partitions=p.partitions)
        expire = partial(expiry.sweep, book=self._book, new_id=p.new_id, partitions=p.partitions)
        remind = partial(expiry.remind, book=self._book, new_id=p.new_id)
        lapse = partial(expiry.sweep_protections, new_id=p.new_id, partitions=p.partitions)
        close = partial(objections.close_moot, book=self._book, new_id=p.new_id, partitions=p.partitions)
        while True:
            self._chores_due.clear()
            now_ms = p.clock()
            try:
                await p.store.write(partial(changes.forget_keys, before_ms=now_ms - REMEMBER_KEYS_MS))
                await p.store.write(partial(consultations.close_due, now_ms=now_ms))
                for sweep in (expire, remind, lapse, close):
                    while await p.store.write(partial(sweep, now_ms=now_ms)):
                        self._relay.wake()
                if await p.store.write(partial(roll, now_ms=now_ms)):
                    self._relay.wake()
                self._unswept |= not await p.store.sweep()
            except Problem as exc:
                _log.warning("house not kept", problem=exc.kind.slug)
            # Not wait_for: in Python 3.11 it loses a cancellation that meets the wake-up.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HOUSEKEEPING_S):
                    await self._chores_due.wait()

    def _run(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        exc = task.exception()
        if exc is not None:
            _log.error("background task ended", task=task.get_name(), error=type(exc).__name__)
            self._parts.on_broken(exc)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
