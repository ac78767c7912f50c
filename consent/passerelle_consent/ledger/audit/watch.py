"""What a monitor makes of entries, one after the other: what is wrong though all bytes agree. Pure.

Of anybody: entries that are not canonical, overrides that nobody reviewed in time. Of those whose keys it has: permits
behind a fence (`scan`), and sharing that was denied and then allowed though no new standing came.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from passerelle_consent.ledger.audit.scan import Answer, Placed, fences, is_about
from passerelle_consent.ledger.faults import Invalid
from passerelle_consent.ledger.log.entries import Entry, EntryType
from passerelle_consent.policy.decide import Reason, Verdict

REVIEW_MS = 72 * 3_600_000
"""An override is reviewed within so long (DESIGN §5, 6-1-d)."""
SLACK_MS = 60_000
"""A new standing may be told before the last denial on the old one: the gate had not read it yet. Rarely a second."""

_NEEDS_STANDING = frozenset(
    {
        Reason.CONSENT_NOT_GIVEN,
        Reason.CONSENT_REFUSED,
        Reason.CONSENT_WITHDRAWN,
        Reason.CONSENT_EXPIRED,
        Reason.NOTICE_SUPERSEDED,
        Reason.OBJECTED,
        Reason.RESTRICTED,
        Reason.NO_OVERRIDE,
    }
)
"""Denials that only a new standing, or another policy, can turn. The others end with time."""

_STANDINGS = frozenset(
    {
        EntryType.GIVEN,
        EntryType.ANSWERED,
        EntryType.LIFTED,
        EntryType.OVERRIDE,
        EntryType.GUARDIAN,
        EntryType.LINKED,
    }
)
_POLICIES = frozenset({EntryType.POLICY, EntryType.AGREEMENT})


class Kind(StrEnum):
    """What an alarm is about. Closed."""

    TWO_HISTORIES = "two-histories"
    NOT_CANONICAL = "not-canonical"
    OVERRIDE_UNREVIEWED = "override-unreviewed"
    PERMIT_AFTER_FENCE = "permit-after-fence"
    PERMIT_WITHOUT_STANDING = "permit-without-standing"
    CHECKPOINT_LATE = "checkpoint-late"
    INVALID = "invalid"
    UNCLEAR = "unclear"
    """The log could not be read or judged: no alarm of the log's content, and no all-clear either."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Alarm:
    """One thing that somebody should look at. ``index`` is the entry's, where it is about one."""

    kind: Kind
    what: str
    index: int | None = None


@dataclass(kw_only=True, slots=True)
class Person:
    """What is known of the holder of one key."""

    key: bytes
    entries: list[Placed] = field(default_factory=list)


@dataclass(kw_only=True, slots=True)
class Watch:
    """What was seen of the log so far, as far as later entries may turn on it."""

    people: list[Person] = field(default_factory=list)
    overrides: dict[bytes, Placed] = field(default_factory=dict)
    """Not reviewed yet, by id."""
    policies: list[Placed] = field(default_factory=list)
    """Each change of policy: few in a log's life."""

    def take(self, index: int, raw: bytes) -> Iterator[Alarm]:
        """Take in the next entry; yield what is wrong with it."""
        try:
            placed = Placed(index=index, entry=Entry.parse(raw))
        except Invalid as fault:
            yield Alarm(kind=Kind.NOT_CANONICAL, index=index, what=fault.what)
            return
        yield from self._reviewed(placed)
        if placed.entry.type in _POLICIES:
            self.policies.append(placed)
        for person in self.people:
            if is_about(placed.entry, person.key):
                person.entries.append(placed)
                yield from _without_standing(person.entries, self.policies)

    def _reviewed(self, placed: Placed) -> Iterator[Alarm]:
        entry = placed.entry
        if entry.type is EntryType.OVERRIDE:
            self.overrides[entry.ident] = placed
        elif entry.type is EntryType.REVIEWED and entry.regarding in self.overrides:
            opened = self.overrides.pop(entry.regarding)
            if entry.time_ms - opened.entry.time_ms > REVIEW_MS:
                yield _late(opened, "was reviewed after more than 72 hours")

    def standing(self, now_ms: int) -> Iterator[Alarm]:
        """Yield what is wrong as things stand: whoever asks twice is told twice."""
        for opened in self.overrides.values():
            if now_ms - opened.entry.time_ms > REVIEW_MS:
                yield _late(opened, "is not reviewed, after more than 72 hours")
        for person in self.people:
            for fence in fences(person.entries):
                if fence.answer is Answer.BROKEN and fence.permit is not None:
                    what = f"permit {fence.permit.entry.ident.hex()} follows fence {fence.at.index} ({fence.agreement})"
                    yield Alarm(kind=Kind.PERMIT_AFTER_FENCE, index=fence.permit.index, what=what)


def _late(opened: Placed, what: str) -> Alarm:
    return Alarm(kind=Kind.OVERRIDE_UNREVIEWED, index=opened.index, what=f"override {opened.entry.ident.hex()} {what}")


def _without_standing(mine: list[Placed], policies: Iterable[Placed]) -> Iterator[Alarm]:
    """Hold the person's newest entry, if something was shared, against the last decision about the same flow."""
    newest = mine[-1]
    if newest.entry.type is not EntryType.DECISION or newest.entry.verdict is Verdict.DENY:
        return
    flow = newest.entry.flow
    last = next((p for p in reversed(mine[:-1]) if p.entry.type is EntryType.DECISION and p.entry.flow == flow), None)
    if last is None or last.entry.verdict is not Verdict.DENY or last.entry.reason not in _NEEDS_STANDING:
        return
    since_ms = last.entry.time_ms - SLACK_MS
    turned = (p for p in (*mine, *policies) if p.entry.type in _STANDINGS | _POLICIES)
    if not any(p.entry.time_ms >= since_ms and p.index < newest.index for p in turned):
        what = f"flow {flow} was denied ({last.entry.reason}, entry {last.index}) and is shared, and nothing was said"
        yield Alarm(kind=Kind.PERMIT_WITHOUT_STANDING, index=newest.index, what=what)
