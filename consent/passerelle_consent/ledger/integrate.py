"""The integrator: one leader that turns `decisions` and `consent.journal` into the signed log.

A step is one database transaction: entries, private parts, keys, tiles, offsets, and the checkpoint over them. What
was not committed is read again from the stored offsets; what was committed and not published is published by the next
step, or by the next leader. `sequence` says in which order things go in.

Kafka's offsets make decisions exact. The journal comes from a transactional outbox, which may send a row twice: its
entries are told apart by their ids.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Event

import structlog

from passerelle_consent.ledger import tree
from passerelle_consent.ledger.checkpoint import Checkpoint
from passerelle_consent.ledger.commitments import MasterKey, Random
from passerelle_consent.ledger.faults import Invalid
from passerelle_consent.ledger.feed import BrokerAway, Feed, Record
from passerelle_consent.ledger.note import Signer
from passerelle_consent.ledger.publish import Publisher, PublishFault
from passerelle_consent.ledger.reader import Head, Reader
from passerelle_consent.ledger.sequence import Draft, JournalRecord, Waiting, draft_of_journal, drafts_of_decisions
from passerelle_consent.ledger.store import Store, StoreAway
from passerelle_consent.ledger.tiles import RightEdge
from passerelle_consent.ledger.vault import Vault
from passerelle_consent.ledger.writer import Lease, NotLeader, Writer
from passerelle_consent.wire import decode_decisions, decode_journal
from passerelle_schemas.faults import Fault

LEASE_MS = 5_000
"""Past any pause of a healthy step. A leader that dies is followed after this; one that resigns, at once. A leader that
was only slow finds its term over and commits nothing."""

RENEW_MS = 1_500
"""An idle leader renews its lease this often: three times before it would end."""

STEP_BYTES_MAX = 1 << 18
"""Of one topic in one transaction: some four thousand decisions, so that a backlog is integrated in commits of less
than a second. One poll may bring more: `feed.POLL_RECORDS_MAX`."""

POLLS_MAX = 10
"""Of 50 ms at most: a step that waits for records commits what it has after half a second."""

IDLE_S = 0.2
"""Between steps when there was little: with `POLLS_MAX`, a new record is under a checkpoint within a second."""

RETRIES_MAX = 60
RETRY_S = 1.0
"""A broker that restarts is back within a minute; past that a person should know."""

_log = structlog.get_logger()


class Unreadable(Fault):
    """A record of the bus's own topics cannot be read. The ledger stops: it must not leave a decision out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Clock:
    """Time as the integrator uses it."""

    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What one step did."""

    decisions: int
    journal: int
    waiting: int
    """Journal entries that wait for decisions to come first."""
    size: int
    full: bool
    """Whether a bound ended it, so that there is more at once."""


class Integrator:
    """Construct it with everything it needs; `run` it in a thread or process of its own, or `start` and `step` it."""

    def __init__(
        self,
        *,
        store: Store,
        decisions: Feed,
        journal: Feed,
        signer: Signer,
        master: MasterKey,
        publisher: Publisher,
        random: Random,
        holder: str,
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._decisions = decisions
        self._journal = journal
        self._signer = signer
        self._master = master
        self._publisher = publisher
        self._random = random
        self._holder = holder
        self._clock = clock or Clock()
        self._lease: Lease | None = None
        self._renewed_ms = 0
        self._waiting = Waiting()
        self._unpublished = True
        self._unswept = True  # a last life may have destroyed a key and ended before its sweep
        self._size = 0

    # --- the component ------------------------------------------------------------------------------------------

    def run(self, stop: Event, ready: Callable[[], None] = lambda: None) -> None:
        """Lead when possible and integrate until ``stop``; then finish, publish and resign. Raises `Fault`."""
        failures = 0
        while not stop.is_set():
            try:
                if self._lease is None and not self.start():
                    stop.wait(RETRY_S)
                    continue
                ready()
                ready = _nothing
                done = self.step()
                failures = 0
                if not done.full:
                    stop.wait(IDLE_S)
            except (NotLeader, BrokerAway, StoreAway, PublishFault) as fault:
                failures += 1
                if failures > RETRIES_MAX:
                    raise
                _log.warning("again", error=type(fault).__name__, why=str(fault), failures=failures)
                self._forget(fault)
                stop.wait(RETRY_S)
        self.resign()

    def start(self) -> bool:
        """Take the lead, publish what was integrated, and go to the stored offsets. False when another leads."""
        self._lease = None
        now = self._clock.now_ms()
        with self._store.writing() as db:
            lease = db.lead(self._holder, now, now + LEASE_MS)
            if lease is None:
                return False
            if (head := db.head()) is None:
                db.add_checkpoint(self._sign(RightEdge()), now)
            else:
                self._edge(db, head)
            self._size = head.checkpoint.size if head else 0
        with self._store.reading() as db:
            positions = db.positions(self._decisions.topic), db.positions(self._journal.topic)
        self.publish()
        self._decisions.start(positions[0])
        self._journal.start(positions[1])
        self._waiting, self._lease, self._renewed_ms = Waiting(), lease, now
        return True

    def resign(self) -> None:
        """Give the lead back, so that another need not wait for the lease to end."""
        if self._lease is not None:
            try:
                with self._store.writing() as db:
                    db.renew(self._lease, 0)
            except (NotLeader, StoreAway):
                pass  # it is another's already, or ends by itself
            self._lease = None

    def step(self) -> Step:
        """Integrate what is new and publish it. Raises `Fault`; the state is then that of the last commit."""
        try:
            step = self._integrate()
        except BaseException:
            self._lease = None  # offsets in memory are ahead of the store: `start` goes back to it
            raise
        if self._unpublished:
            self.publish()
        if self._unswept:
            self._unswept = not self._store.sweep()
        if step.decisions or step.journal:
            _log.info(
                "integrated",
                decisions=step.decisions,
                journal=step.journal,
                waiting=step.waiting,
                size=step.size,
            )
        return step

    def publish(self) -> None:
        """Publish the last checkpoint; nothing happens when that is done."""
        self._unpublished = True
        with self._store.reading() as db:
            if (head := db.head()) is not None:
                self._publisher.publish(db, head)
        self._unpublished = False

    def _forget(self, fault: Fault) -> None:
        if not isinstance(fault, PublishFault):
            self._lease = None

    # --- one step -----------------------------------------------------------------------------------------------

    def _integrate(self) -> Step:
        """The order of the four readings is the point: see `sequence`."""
        self._led()
        ends = self._decisions.ends()
        waiting = self._waiting.noted(ends)
        journal_ends = self._journal.ends()
        read = self._journal.take(journal_ends, polls_max=POLLS_MAX, bytes_max=STEP_BYTES_MAX)
        now, waiting = waiting.arrange(_journal_record(record) for record in read)
        drafts: list[Draft] = []
        caught_up = self._journal.reached(journal_ends)
        if caught_up:
            taken = self._decisions.take(ends, polls_max=POLLS_MAX, bytes_max=STEP_BYTES_MAX)
            drafts = [draft for record in taken for draft in _decision_drafts(record)]
        due, waiting = waiting.release(self._decisions.positions)
        size, journal = self._commit(now, drafts, due, waiting)
        self._waiting = waiting
        full = not caught_up or not self._decisions.reached(ends)
        return Step(decisions=len(drafts), journal=journal, waiting=len(waiting.held), size=size, full=full)

    def _commit(
        self, now: list[JournalRecord], decisions: list[Draft], due: list[JournalRecord], waiting: Waiting
    ) -> tuple[int, int]:
        """Write everything in one transaction; return the size and how many journal entries were new.

        With nothing to write, only the lease and the offsets are renewed, now and then: offsets also move behind
        markers of transactions, and must not lag behind the topic's retention.
        """
        signed_ms = self._clock.now_ms()
        if not (now or decisions or due) and signed_ms - self._renewed_ms < RENEW_MS:
            return self._size, 0
        with self._store.writing() as db:
            db.renew(self._led(), signed_ms + LEASE_MS)
            head = db.head()
            if head is None:
                raise Invalid("the database has lost its checkpoints")
            fresh = _Fresh(db.known(r.entry.id for r in (*now, *due)))
            before, after = fresh.drafts(now), fresh.drafts(due)
            drafts = [*before, *decisions, *after]
            size = self._append(db, head, drafts, signed_ms) if drafts else head.checkpoint.size
            db.put_positions(self._decisions.topic, self._decisions.positions)
            db.put_positions(self._journal.topic, waiting.resume_at(self._journal.positions))
        self._renewed_ms, self._size = signed_ms, size
        self._unpublished = True  # with nothing new, too: that the log is alive is told by its checkpoint's time
        return size, len(before) + len(after)

    def _append(self, db: Writer, head: Head, drafts: list[Draft], signed_ms: int) -> int:
        vault = Vault(master=self._master, random=self._random)
        vault.open(db.subject_keys({d.subject for d in drafts if d.subject is not None}))
        entries = vault.seal(drafts)
        edge = self._edge(db, head)
        db.add_entries(edge.size, entries)
        db.put_tiles(edge.append([tree.leaf_hash(entry.body) for entry in entries]))
        db.destroy_keys(vault.destroyed)
        db.forget_handles(vault.forgotten)
        self._unswept |= bool(vault.destroyed)
        db.add_keys(vault.to_store())
        db.add_checkpoint(self._sign(edge), signed_ms)
        return edge.size

    def _edge(self, db: Reader, head: Head) -> RightEdge:
        """The tree to append to. It must have the root that was signed last, else nothing is ever signed again.

        Appending to it is what makes the next checkpoint consistent with that one (tlog-checkpoint, "Signatures").
        """
        checkpoint = head.checkpoint
        if checkpoint.origin != self._signer.name:
            raise Invalid(f"the database is the log of {checkpoint.origin}, not of {self._signer.name}")
        edge = RightEdge.of(checkpoint.size, db.tile)
        if edge.root() != checkpoint.root:
            raise Invalid(f"the tree in the database is not the one signed at size {checkpoint.size}")
        return edge

    def _sign(self, edge: RightEdge) -> Head:
        checkpoint = Checkpoint(origin=self._signer.name, size=edge.size, root=edge.root())
        return Head(checkpoint=checkpoint, note=checkpoint.sign(self._signer))

    def _led(self) -> Lease:
        if self._lease is None:
            raise NotLeader("this integrator does not lead")
        return self._lease


@dataclass(slots=True)
class _Fresh:
    """Journal entries by id: an outbox may send a row twice, in one batch or in two."""

    seen: set[bytes]

    def drafts(self, records: Iterable[JournalRecord]) -> list[Draft]:
        drafts = []
        for record in records:
            if record.entry.id not in self.seen:
                self.seen.add(record.entry.id)
                drafts.append(draft_of_journal(record.entry))
        return drafts


def _journal_record(record: Record) -> JournalRecord:
    try:
        entry = decode_journal(record.value)
    except Fault as fault:
        raise Unreadable(fault.what, where=f"consent.journal[{record.partition}]@{record.offset}") from None
    return JournalRecord(partition=record.partition, offset=record.offset, entry=entry)


def _decision_drafts(record: Record) -> Iterable[Draft]:
    try:
        return drafts_of_decisions(decode_decisions(record.value))
    except Fault as fault:
        raise Unreadable(fault.what, where=f"decisions[{record.partition}]@{record.offset}") from None


def _nothing() -> None:
    pass
