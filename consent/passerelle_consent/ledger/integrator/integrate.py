"""The integrator: one leader that turns `decisions` and `consent.journal` into the signed log.

A step is one database transaction: entries, private parts, keys, tiles, offsets, and the checkpoint over them. What
was not committed is read again from the stored offsets; what was committed and not published is published by the next
step, or by the next leader. `sequence` says in which order things go in.

While there is a backlog, three steps are under way: one is published and one is committed, each in a thread that
mostly waits for the disk or the database, while the next is read and, in a process of its own, sealed. Steps are
committed in their order, each on the one before it, and published in that order; what cannot be committed takes down
whatever was prepared upon it.

Kafka's offsets make decisions exact. The journal comes from a transactional outbox, which may send a row twice: its
entries are told apart by their ids.
"""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event

import structlog

from passerelle_consent.ledger.database.reader import Head, Reader
from passerelle_consent.ledger.database.store import Store, StoreAway
from passerelle_consent.ledger.database.writer import Lease, NotLeader
from passerelle_consent.ledger.faults import Invalid
from passerelle_consent.ledger.integrator.feed import BrokerAway, Feed, Record
from passerelle_consent.ledger.integrator.publish import JustCommitted, Publisher, PublishFault
from passerelle_consent.ledger.integrator.sealing_process import SealingAway
from passerelle_consent.ledger.log import tree
from passerelle_consent.ledger.log.checkpoint import Checkpoint
from passerelle_consent.ledger.log.commitments import Random, in_blocks
from passerelle_consent.ledger.log.masters import Masters
from passerelle_consent.ledger.log.note import Signer
from passerelle_consent.ledger.log.tiles import RightEdge
from passerelle_consent.ledger.sealing.batch import Batch, Taken, Unread, Unreadable
from passerelle_consent.ledger.sealing.sealer import Sealer, Sealing
from passerelle_consent.ledger.sealing.sequence import Draft, JournalRecord, Waiting, draft_of_journal
from passerelle_consent.ledger.sealing.vault import KeyChanges
from passerelle_consent.wire import decode_journal
from passerelle_schemas.faults import Fault
from passerelle_schemas.topics import DECISIONS, JOURNAL

LEASE_MS = 5_000
"""Past any pause of a healthy step. A leader that dies is followed after this; one that resigns, at once. A leader that
was only slow finds its term over and commits nothing."""

RENEW_MS = 1_500
"""An idle leader renews its lease this often: three times before it would end."""

STEP_BYTES_MAX = 1 << 18
"""Of one topic in one transaction: some six thousand decisions, so that a backlog is integrated in commits of less
than a second. One poll may bring more: `feed.POLL_RECORDS_MAX`."""

POLLS_MAX = 10
"""Of 50 ms at most: a step that waits for records commits what it has after half a second."""

IDLE_S = 0.2
"""Between steps when there was little: with `POLLS_MAX`, a new record is under a checkpoint within a second."""

RETRIES_MAX = 60
RETRY_S = 1.0
"""A broker that restarts is back within a minute; past that a person should know."""

_log = structlog.get_logger()


class MasterChanged(Fault):
    """Keys of this batch were wrapped by a master that is current no more, and may be destroyed: it is made again."""


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
        masters: Masters,
        publisher: Publisher,
        random: Random,
        holder: str,
        sealing: Sealing | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._decisions = decisions
        self._journal = journal
        self._signer = signer
        self._masters = masters
        self._publisher = publisher
        self._random = in_blocks(random)
        self._holder = holder
        self._clock = clock or Clock()
        self._lease: Lease | None = None
        self._renewed_ms = 0
        self._waiting = Waiting()
        self._unswept = True  # a last life may have destroyed a key and ended before its sweep
        # As of the last step that was sealed, which may be ahead of the last that was committed.
        self._sealing = sealing or Sealer(random)
        self._size = 0
        self._committer = ThreadPoolExecutor(1, thread_name_prefix="ledger-commit")
        self._committing: Future[None] | None = None
        self._announcer = ThreadPoolExecutor(1, thread_name_prefix="ledger-publish")
        self._publishing: Future[None] | None = None

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
                done = self.step(ahead=True)
                failures = 0
                if not done.full:
                    stop.wait(IDLE_S)
            except (NotLeader, MasterChanged, BrokerAway, StoreAway, PublishFault, SealingAway) as fault:
                failures += 1
                if failures > RETRIES_MAX:
                    raise
                _log.warning("again", error=type(fault).__name__, why=str(fault), failures=failures)
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
            if db.head() is None:
                empty = Checkpoint(origin=self._signer.name, size=0, root=tree.EMPTY_ROOT)
                db.add_checkpoint(self._sign(empty), now)
            edge = self._signed_edge(db)
        with self._store.reading() as db:
            positions = db.positions(self._decisions.topic), db.positions(self._journal.topic)
        self.publish()
        self._decisions.start(positions[0])
        self._journal.start(positions[1])
        self._waiting, self._size = Waiting(), edge.size
        self._sealing.start(edge)
        self._lease, self._renewed_ms = lease, now
        return True

    def resign(self) -> None:
        """Finish what is being committed, and give the lead back: another need not wait for the lease to end."""
        try:
            self._settle()
            self._see_published()
            if self._lease is not None:
                with self._store.writing() as db:
                    db.renew(self._lease, 0)
        except (NotLeader, MasterChanged, StoreAway, PublishFault) as fault:
            _log.warning("resigned", error=type(fault).__name__)  # it is another's already, or ends by itself
        self._give_up()

    def step(self, *, ahead: bool = False) -> Step:
        """Integrate what is new and publish it. Raises `Fault`; the state is then that of the last commit.

        ``ahead``: when there is more at once, return before it is committed; the next step sees to that.
        """
        try:
            taken = self._take()
            if taken.journal:
                self._settle()  # its ids are looked up among those that are stored
            batch = self._prepare(taken)
            self._settle()
            self._sealing.trim()
            if batch.entries or self._clock.now_ms() - self._renewed_ms >= RENEW_MS:
                self._committing = self._committer.submit(self._commit, batch, self._led())
            if not (ahead and taken.full and not taken.journal):
                self._settle()
                self._see_published()
        except BaseException:
            self._give_up()
            raise
        return Step(
            decisions=batch.decisions,
            journal=len(batch.entries) - batch.decisions,
            waiting=len(self._waiting.held),
            size=batch.size,
            full=taken.full,
        )

    def publish(self) -> None:
        """Publish the last checkpoint; nothing happens when that is done."""
        with self._store.reading() as db:
            if (head := db.head()) is not None:
                self._publisher.publish(db, head)

    # --- one step -----------------------------------------------------------------------------------------------

    def _take(self) -> Taken:
        """The order of the four readings is the point: see `sequence`."""
        self._led()
        ends = self._decisions.ends()
        waiting = self._waiting.noted(ends)
        journal_ends = self._journal.ends()
        read = self._journal.take(journal_ends, polls_max=POLLS_MAX, bytes_max=STEP_BYTES_MAX)
        now, waiting = waiting.arrange(_journal_record(record) for record in read)
        decisions: list[Unread] = []
        caught_up = self._journal.reached(journal_ends)
        if caught_up:
            taken = self._decisions.take(ends, polls_max=POLLS_MAX, bytes_max=STEP_BYTES_MAX)
            decisions = [Unread(f"{DECISIONS}[{record.partition}]@{record.offset}", record.value) for record in taken]
        due, self._waiting = waiting.release(self._decisions.positions)
        positions = {
            self._decisions.topic: dict(self._decisions.positions),
            self._journal.topic: self._waiting.resume_at(self._journal.positions),
        }
        full = not caught_up or not self._decisions.reached(ends)
        return Taken(now=now, decisions=decisions, due=due, positions=positions, full=full)

    def _prepare(self, taken: Taken) -> Batch:
        """Seal the entries and put them on the tree, in memory."""
        before, after = self._fresh(taken)
        if not (before or after or taken.decisions):
            none = KeyChanges(destroyed=frozenset(), forgotten=frozenset(), made={})
            return Batch(start=self._size, positions=taken.positions, keys=none)
        drafted = {draft.subject for draft in (*before, *after) if draft.subject is not None}
        secrets: dict[bytes, bytes] = {}
        if unknown := self._sealing.take(taken.decisions, drafted):
            with self._store.reading() as db:
                stored = db.subject_keys(unknown)
            secrets = {subject: key.secret(subject, self._masters) for subject, key in stored.items()}
        sealed = self._sealing.seal(before, after, secrets)
        self._size = sealed.start + len(sealed.entries)
        return Batch(
            start=sealed.start,
            entries=sealed.entries,
            decisions=len(sealed.entries) - len(before) - len(after),
            tiles=sealed.tiles,
            root=sealed.root,
            keys=sealed.keys.wrapped(self._masters, self._random),
            positions=taken.positions,
        )

    def _fresh(self, taken: Taken) -> tuple[list[Draft], list[Draft]]:
        if not taken.journal:
            return [], []
        with self._store.reading() as db:
            fresh = _Fresh(db.known(record.entry.id for record in (*taken.now, *taken.due)))
        return fresh.drafts(taken.now), fresh.drafts(taken.due)

    def _commit(self, batch: Batch, lease: Lease) -> None:
        """Write everything in one transaction, then have it published. In a thread of its own, one at a time.

        With nothing to write, only the lease and the offsets are renewed, now and then: offsets also move behind
        markers of transactions, and must not lag behind the topic's retention.
        """
        signed_ms = self._clock.now_ms()
        with self._store.writing() as db:
            db.renew(lease, signed_ms + LEASE_MS)
            self._see_master(batch)  # behind the row that whoever destroys a master holds (`rewrap.retire`)
            if batch.entries:
                if self._signed_edge(db).size != batch.start:
                    raise Invalid("the database is not where this integrator left it")
                head = self._sign(Checkpoint(origin=self._signer.name, size=batch.size, root=batch.root))
                db.add(batch, head, signed_ms)
            for topic, positions in batch.positions.items():
                db.put_positions(topic, positions)
        self._renewed_ms = signed_ms
        self._see_published()
        if batch.entries:
            self._publishing = self._announcer.submit(self._publish, batch, head)
        else:  # with nothing new, too: that the log is alive is told by its checkpoint's time
            self._publishing = self._announcer.submit(self.publish)
        self._unswept |= bool(batch.keys.destroyed)
        if self._unswept:
            self._see_published()  # which reads the database, and would be in the way
            self._unswept = not self._store.sweep()

    def _see_master(self, batch: Batch) -> None:
        wrapping = {key.master for key in batch.keys.made.values()}
        if wrapping and wrapping != {self._masters.current().id}:
            raise MasterChanged("the master key was changed")

    def _publish(self, batch: Batch, head: Head) -> None:
        with self._store.reading() as db:
            fresh = [entry.body for entry in batch.entries]
            just = JustCommitted(reader=db, start=batch.start, fresh=fresh, tiles=batch.tiles)
            self._publisher.publish(just, head)
        _log.info(
            "integrated", decisions=batch.decisions, journal=len(batch.entries) - batch.decisions, size=batch.size
        )

    def _settle(self) -> None:
        """Wait until the step before is committed, and the one before that published. Raises what either raised."""
        committing, self._committing = self._committing, None
        if committing is not None:
            committing.result()

    def _see_published(self) -> None:
        """Wait until all that was committed is published. Raises what that raised."""
        publishing, self._publishing = self._publishing, None
        if publishing is not None:
            publishing.result()

    def _give_up(self) -> None:
        """What is in memory is ahead of the store: `start` goes back to it, once nothing is being written any more."""
        self._lease = None
        self._sealing.close()
        committing, self._committing = self._committing, None
        if committing is not None:
            committing.exception()
        publishing, self._publishing = self._publishing, None  # only now: a commit hands on to it
        if publishing is not None:
            publishing.exception()

    def _signed_edge(self, db: Reader) -> RightEdge:
        """The tree to append to. It must have the root that was signed last, else nothing is ever signed again.

        Appending to it is what makes the next checkpoint consistent with that one (tlog-checkpoint, "Signatures").
        """
        head = db.head()
        if head is None:
            raise Invalid("the database has lost its checkpoints")
        checkpoint = head.checkpoint
        if checkpoint.origin != self._signer.name:
            raise Invalid(f"the database is the log of {checkpoint.origin}, not of {self._signer.name}")
        edge = RightEdge.of(checkpoint.size, db.tile)
        if edge.root() != checkpoint.root:
            raise Invalid(f"the tree in the database is not the one signed at size {checkpoint.size}")
        return edge

    def _sign(self, checkpoint: Checkpoint) -> Head:
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
        raise Unreadable(fault.what, where=f"{JOURNAL}[{record.partition}]@{record.offset}") from None
    return JournalRecord(partition=record.partition, offset=record.offset, entry=entry)


def _nothing() -> None:
    pass
