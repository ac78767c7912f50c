"""The proof of non-delivery (DESIGN §8): all that the log holds about one person, and what followed each fence. Pure.

Whoever holds k_subject recomputes every entry's `subject_commit`. The tree is rebuilt in the same reading, so that the
list is of all entries under the signed checkpoint: nothing can be left out of it.

A fence says that a withdrawal (or a refusal, an objection, a revocation, a restriction) has taken effect. After it, no
permit under that agreement may follow until the log tells of a new standing. What was redacted is listed and accuses
nobody: the fields of the fenced agreement are what was withheld.
"""

import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from passerelle_consent.ledger import tiles, tree
from passerelle_consent.ledger.checkpoint import Checkpoint
from passerelle_consent.ledger.commitments import subject_commit
from passerelle_consent.ledger.entries import Entry, EntryType
from passerelle_consent.ledger.faults import Invalid
from passerelle_consent.ledger.note import Verifier
from passerelle_consent.ledger.published import CHECKPOINT, PublishedLog
from passerelle_consent.ledger.tiles import RightEdge
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
        edge.append([tree.leaf_hash(raw) for raw in read])
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
    for number, placed in enumerate(mine):
        if placed.entry.type is EntryType.FENCED:
            for agreement in _fenced(placed.entry, known.get(placed.entry.regarding or b"")):
                overrides = [p.entry for p in mine if p.entry.type is EntryType.OVERRIDE]
                yield _judge(placed, agreement, mine[number + 1 :], overrides)


def _fenced(fenced: Entry, cause: Entry | None) -> tuple[str, ...]:
    """Return what a fence closes: its agreements; everything for a restriction; else no agreement in particular."""
    if fenced.agreements:
        return fenced.agreements
    return (ALL,) if cause is not None and cause.type is EntryType.RESTRICTED else ()


def _judge(at: Placed, agreement: str, after: Sequence[Placed], overrides: Sequence[Entry]) -> Fence:
    redacted, answered, given = 0, False, set[str]()
    for placed in after:
        entry = placed.entry
        names = {name_of(a) for a in entry.agreements or ()}
        if _reopens(entry, agreement):
            return Fence(at=at, agreement=agreement, answer=Answer.HELD, reopened=placed.index, redacted=redacted)
        if entry.type is EntryType.GIVEN:
            given |= names
        answered |= entry.type is EntryType.ANSWERED and name_of(agreement) in names
        if entry.type is EntryType.DECISION and (name_of(agreement) in names or (agreement == ALL and names - given)):
            redacted += entry.verdict is Verdict.REDACT
            if entry.verdict is Verdict.PERMIT:
                why = _doubt(entry, agreement, overrides, answered=answered)
                answer = Answer.UNCLEAR if why else Answer.BROKEN
                return Fence(at=at, agreement=agreement, answer=answer, permit=placed, why=why, redacted=redacted)
    return Fence(at=at, agreement=agreement, answer=Answer.HELD, redacted=redacted)


def _reopens(entry: Entry, agreement: str) -> bool:
    """Whether an entry gives the standing that the fence had ended."""
    if agreement == ALL:
        return entry.type is EntryType.LIFTED
    return entry.type is EntryType.GIVEN and name_of(agreement) in {name_of(a) for a in entry.agreements or ()}


def _doubt(permit: Entry, agreement: str, overrides: Sequence[Entry], *, answered: bool) -> str | None:
    """Say why a permit behind a fence may yet be right, where the public entries cannot tell."""
    if answered:
        return "the objection was answered: whether the sharing was resumed is in the private part"
    if agreement == ALL:
        since_ms = permit.time_ms - OVERRIDE_MS_MAX
        near = any(o.recipient == permit.recipient and since_ms <= o.time_ms <= permit.time_ms for o in overrides)
        return "an override for this recipient was opened within 72 hours before" if near else None
    if agreement not in (permit.agreements or ()):
        return "it is under another version of the agreement, which may have another basis"
    return None


def name_of(agreement: str) -> str:
    """Return the agreement's id, without its version."""
    return agreement.partition("@")[0]
