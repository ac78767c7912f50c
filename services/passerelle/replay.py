"""Feed recorded decisions to `policy.replay`: from the ledger's database, with what stood at their time.

By subject, since a subject's key finds its entries: so memory holds one subject's standings and some hundred entries.
What stands under no subject's handle comes after. All of it is one state of both databases, opened for reading alone.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache

import sqlalchemy as sa

from passerelle_consent.ledger.database.reader import Reader
from passerelle_consent.ledger.log.commitments import SubjectKey
from passerelle_consent.ledger.log.entries import Entry, EntryType
from passerelle_consent.ledger.log.masters import Masters
from passerelle_consent.ledger.query import disclose
from passerelle_consent.ledger.query.select import Selection
from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_consent.policy.decide import Decision, DecisionTable, Reason
from passerelle_consent.policy.replay import Lost, Recorded, Replay, Report
from passerelle_consent.policy.standing import UNKNOWN_SUBJECT
from passerelle_consent.records.past import past_of, policy_of
from passerelle_consent.records.ports import SubjectRef

SUBJECTS_AT_ONCE = 500
ENTRIES_AT_ONCE = 5_000
"""Some 3 MB of the log's entries."""

POLICIES_KEPT = 16
"""Compiled at once, a megabyte each at most; a log that goes back over more compiles one again."""


class Replaying:
    """One replay over one state of the ledger's database and of the consent store."""

    def __init__(self, ledger: Reader, consent: sa.Connection, masters: Masters, since_ms: int) -> None:
        self._ledger = ledger
        self._consent = consent
        self._masters = masters
        self._wanted = Selection(type=EntryType.DECISION, since_ms=since_ms)
        head = ledger.head()
        self._end = head.checkpoint.size if head else 0
        self._start = ledger.size_at(since_ms)

    @property
    def entries(self) -> int:
        """How many entries are looked at."""
        return self._end - self._start

    def run(self, changed: DecisionTable, looked: Callable[[int], None] = lambda _: None) -> Report:
        """Decide again. ``looked`` hears of entries done.

        Raises `Invalid`, `Unclear`, `BadBundle`, `SQLAlchemyError`.
        """
        replay = Replay(changed, lru_cache(POLICIES_KEPT)(self._table))
        for subject, key in self._subjects():
            looked(self._replay_subject(replay, subject, key))
        for start in range(self._start, self._end, ENTRIES_AT_ONCE):
            bodies = self._ledger.unlisted(start, min(start + ENTRIES_AT_ONCE, self._end))
            for entry in map(Entry.parse, bodies):
                if self._wanted.matches(entry):
                    _replay_unlisted(replay, _recorded(entry))
            looked(len(bodies))
        return replay.report()

    def _subjects(self) -> Iterator[tuple[SubjectRef, SubjectKey]]:
        after = b""
        while some := self._ledger.subjects(after, SUBJECTS_AT_ONCE):
            for subject, stored in some:
                yield SubjectRef(subject), stored.open(subject, self._masters)
            after = some[-1][0]

    def _replay_subject(self, replay: Replay, subject: SubjectRef, key: SubjectKey) -> int:
        past, seen = None, 0
        entries = disclose.opened(self._ledger, key, start=self._start, end=self._end, wanted=self._wanted)
        for seen, opened in enumerate(entries, 1):
            if seen == 1:
                past = past_of(self._consent, subject)
            recorded = _recorded(opened.entry, tuple(opened.private.get("withheld", ())))
            replay.take(recorded, past.at(recorded.at_ms) if past is not None else ())
        return seen

    def _table(self, digest: bytes) -> DecisionTable | None:
        packed = policy_of(self._consent, digest)
        return None if packed is None else PolicyBundle.unpack(packed).table()


def _replay_unlisted(replay: Replay, recorded: Recorded) -> None:
    """A subject whom the gate did not know has no key; any other without one is erased."""
    if recorded.decision.reason is Reason.UNKNOWN_SUBJECT:
        replay.take(recorded, [UNKNOWN_SUBJECT])
    else:
        replay.lose(recorded, Lost.ERASED)


def _recorded(entry: Entry, withheld: tuple[str, ...] = ()) -> Recorded:
    assert entry.verdict is not None  # noqa: S101 - every decision has both
    assert entry.reason is not None  # noqa: S101
    return Recorded(
        id=entry.ident,
        at_ms=entry.time_ms,
        flow=entry.flow,
        policy=entry.policy,
        decision=Decision(verdict=entry.verdict, reason=entry.reason, withheld=withheld),
    )
