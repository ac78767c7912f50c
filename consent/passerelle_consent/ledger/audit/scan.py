"""The proof of non-delivery (DESIGN §8): all that the log holds about one person, and what followed each fence. Pure.

Whoever holds k_subject recomputes every entry's `subject_commit`. The tree is rebuilt in the same reading, so that the
list is of all entries under the signed checkpoint: nothing can be left out of it.

A fence says that a withdrawal (or a refusal, an objection, a revocation, a restriction) has taken effect. After it, no
permit under that agreement may follow until the log tells of a new standing. What was redacted is listed and accuses
nobody: the fields of the fenced agreement are what was withheld.
"""

import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from passerelle_consent.ledger.audit.published import CHECKPOINT, PublishedLog
from passerelle_consent.ledger.faults import Invalid
from passerelle_consent.ledger.log import tiles, tree
from passerelle_consent.ledger.log.checkpoint import Checkpoint
from passerelle_consent.ledger.log.commitments import subject_commit
from passerelle_consent.ledger.log.entries import Entry, EntryType
from passerelle_consent.ledger.log.note import Verifier
from passerelle_consent.ledger.log.tiles import RightEdge
from passerelle_consent.policy.decide import Verdict

OVERRIDE_MS_MAX = 72 * 3_600_000
"""An override is in force for so long at most (DESIGN §5, 6-1-d)."""

ALL = "*"
"""What a restriction fences (GDPR Art. 18): every agreement."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """An entry and its place in the log."""

    index: int
    entry: Entry


class Answer(StrEnum):
    """What became of a fence."""

    HELD = "held"
    BROKEN = "broken"
    """A permit follows it, and no new standing stands between."""
    UNCLEAR = "unclear"
    """A permit follows, and only the private parts tell whether it may: see `Fence.why`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fence:
    """One fence of one agreement, and what followed it."""

    at: Placed
    agreement: str
    """``id@version``, or `ALL`."""
    answer: Answer
    permit: Placed | None = None
    """The first that follows though it must not, or that leaves it unclear."""
    why: str | None = None
    reopened: int | None = None
    """Index of the entry that gave a new standing."""
    redacted: int = 0
    """Deliveries in part that follow, until then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scan:
    """All entries about one person, in order."""

    checkpoint: Checkpoint
    entries: tuple[Placed, ...]
    fences: tuple[Fence, ...]

    @property
    def decisions(self) -> list[Placed]:
        """Every decision about the person."""
        return [p for p in self.entries if p.entry.type is EntryType.DECISION]

    @property
    def answer(self) -> Answer:
        """The worst of all fences."""
        answers = {f.answer for f in self.fences}
        return next((a for a in (Answer.BROKEN, Answer.UNCLEAR) if a in answers), Answer.HELD)


def entries_of(log: PublishedLog, verifier: Verifier) -> Iterator[tuple[int, bytes] | Checkpoint]:
    """Yield every entry with its index, and last the checkpoint, once the entries have led to its root.

    Raises `Invalid` when they do not, `Unclear` when something is missing.
    """
    checkpoint, _ = log.checkpoint(verifier)
    edge = RightEdge()
    for bundle in tiles.bundles(checkpoint.size):
        read = log.bundle(bundle)
        yield from enumerate(read, bundle.start)
        edge.append(tree.leaf_hashes(read))
    if edge.root() != checkpoint.root:
        raise Invalid("its root is not the root of the entries", where=CHECKPOINT, hint="run: ledger fsck")
    yield checkpoint


def scan(log: PublishedLog, verifier: Verifier, key: bytes) -> Scan:
    """List what is about the holder of k_subject. Raises `Invalid`, `Unclear`."""
    mine: list[Placed] = []
    for read in entries_of(log, verifier):
        if isinstance(read, Checkpoint):
            return Scan(checkpoint=read, entries=tuple(mine), fences=tuple(fences(mine)))
        index, raw = read
        entry = _parse(index, raw)
        if is_about(entry, key):
            mine.append(Placed(index=index, entry=entry))
    raise AssertionError


def is_about(entry: Entry, key: bytes) -> bool:
    """Whether the entry is about the holder of k_subject."""
    commit = entry.subject_commit
    return commit is not None and hmac.compare_digest(subject_commit(key, entry.ident), commit)


def _parse(index: int, raw: bytes) -> Entry:
    try:
        return Entry.parse(raw)
    except Invalid as fault:
        raise Invalid(f"entry {index}: {fault.what}", hint="run: ledger verify") from None


def fences(mine: Sequence[Placed]) -> Iterator[Fence]:
    """Judge each fence among one person's entries, which are in order."""
    known = {p.entry.ident: p.entry for p in mine}
    overrides = [p.entry for p in mine if p.entry.type is EntryType.OVERRIDE]
    for number, placed in enumerate(mine):
        if placed.entry.type is EntryType.FENCED:
            cause = known.get(placed.entry.regarding or b"")
            ended = cause.regarding if cause is not None and cause.type is EntryType.REVIEWED else None
            others = [o for o in overrides if o.ident != ended]
            for agreement in _fenced(placed.entry, cause, known.get(ended or b"")):
                judging = _Judging(agreement=agreement, ended=ended is not None, overrides=others)
                yield judging.judge(placed, mine[number + 1 :])


def _fenced(fenced: Entry, cause: Entry | None, ended: Entry | None) -> tuple[str, ...]:
    """Return what a fence closes: its agreements; those of an override that was ended; everything for a restriction."""
    if fenced.agreements:
        return fenced.agreements
    if ended is not None:
        return ended.agreements or ()
    return (ALL,) if cause is not None and cause.type is EntryType.RESTRICTED else ()


@dataclass(kw_only=True, slots=True)
class _Judging:
    """What is known while the entries behind one fence are read."""

    agreement: str
    ended: bool
    """Whether it was an override that ended: the agreement is one for vital interests."""
    overrides: Sequence[Entry]
    """The others of the same person."""
    given: set[str] = field(default_factory=set)
    answered: bool = False
    redacted: int = 0

    def judge(self, at: Placed, after: Sequence[Placed]) -> Fence:
        for placed in after:
            names = {name_of(a) for a in placed.entry.agreements or ()}
            if self._reopens(placed.entry, names):
                return self._held(at, reopened=placed.index)
            if placed.entry.type is EntryType.GIVEN:
                self.given |= names
            self.answered |= placed.entry.type is EntryType.ANSWERED and name_of(self.agreement) in names
            if placed.entry.type is EntryType.DECISION and self._closed(placed.entry, names):
                self.redacted += placed.entry.verdict is Verdict.REDACT
                if placed.entry.verdict is Verdict.PERMIT:
                    why = self._doubt(placed.entry)
                    answer = Answer.UNCLEAR if why else Answer.BROKEN
                    return replace(self._held(at), answer=answer, permit=placed, why=why)
        return self._held(at)

    def _held(self, at: Placed, reopened: int | None = None) -> Fence:
        return Fence(at=at, agreement=self.agreement, answer=Answer.HELD, reopened=reopened, redacted=self.redacted)

    def _reopens(self, entry: Entry, names: set[str]) -> bool:
        """Whether an entry gives the standing that the fence had ended."""
        if self.agreement == ALL:
            return entry.type is EntryType.LIFTED
        return entry.type in (EntryType.GIVEN, EntryType.OVERRIDE) and name_of(self.agreement) in names

    def _closed(self, decision: Entry, names: set[str]) -> set[str]:
        """Return the agreements of a decision that the fence closes, and nothing else opens."""
        if self.agreement == ALL:
            return names - self.given - self._opened(decision)
        closed = names & {name_of(self.agreement)}
        return closed - self._opened(decision) if self.ended else closed

    def _opened(self, decision: Entry) -> set[str]:
        """Return the agreements that an override had opened when it was decided."""
        return {name_of(a) for o in self.overrides if _lasts(o, decision) for a in o.agreements or ()}

    def _doubt(self, permit: Entry) -> str | None:
        """Say why a permit behind a fence may yet be right, where the public entries cannot tell."""
        if self.answered:
            return "the objection was answered: whether the sharing was resumed is in the private part"
        if self.agreement == ALL:
            unnamed = any(_lasts(o, permit) and not o.agreements for o in self.overrides)
            return "an override that names no agreement may have opened it" if unnamed else None
        if self.agreement not in (permit.agreements or ()):
            return "it is under another version of the agreement, which may have another basis"
        return None


def _lasts(override: Entry, decision: Entry) -> bool:
    """Whether an override may be in force when a decision is made."""
    within = override.time_ms <= decision.time_ms <= override.time_ms + OVERRIDE_MS_MAX
    return within and override.recipient == decision.recipient


def name_of(agreement: str) -> str:
    """Return the agreement's id, without its version."""
    return agreement.partition("@")[0]
