"""What if the policy were another: recorded decisions, decided again. Pure; nothing is delivered and nothing written.

Each decision is first decided again under the policy that made it. Only one that comes out as it was recorded is
compared: what cannot be reproduced would look like an effect of the change, and is counted apart.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from passerelle_consent.policy.decide import Decision, DecisionTable, Reason
from passerelle_consent.policy.standing import Standing

EXAMPLES_MAX = 3
"""Ids of decisions shown of each transition: enough to look some up, and no list of cases."""

_BEFORE_THE_POLICY = frozenset({Reason.UNREADABLE, Reason.WRONG_TYPE})


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """A decision as the ledger has it. No person stands in it."""

    id: bytes
    at_ms: int
    flow: str | None
    policy: bytes | None
    """Digest of the policy that made it."""
    decision: Decision


class Lost(StrEnum):
    """Why a recorded decision cannot be decided again. Closed."""

    NOT_OF_THE_POLICY = "not-of-the-policy"
    """The event could not be read, or was of another type: no policy was asked."""
    FLOW_NOT_NAMED = "flow-not-named"
    """The policy knew no such flow, and what it does not know is not recorded."""
    ERASED = "erased"
    """The subject's key is destroyed: nothing leads to what stood then."""
    STANDING_NOT_KEPT = "standing-not-kept"
    """The consent service has no such subject."""
    POLICY_NOT_KEPT = "policy-not-kept"
    """The consent service never published the policy that decided."""


class Transition(NamedTuple):
    """From what a flow's decision was to what it would be."""

    flow: str
    before: Decision
    after: Decision


@dataclass(slots=True)
class Cases:
    """How many there are, and some of them."""

    count: int = 0
    examples: list[bytes] = field(default_factory=list)

    def add(self, ident: bytes) -> None:
        """Count one."""
        self.count += 1
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append(ident)


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What the change would have done. Every decision is in exactly one of the four counts that follow."""

    unchanged: int
    changed: Mapping[Transition, Cases]
    not_reproduced: Mapping[Transition, Cases]
    """From what was recorded to what its own policy says now. Something else than the policy decided, or the standing
    that is kept is not the one that the gate had."""
    lost: Mapping[Lost, int]
    flows_gone: tuple[str, ...]
    """Of the policies that decided; the changed one has none of that name."""
    flows_new: tuple[str, ...]
    """Of the changed policy; they never decided, so nothing can be said of them."""

    @property
    def reproduced(self) -> int:
        """How many came out as they were recorded."""
        return self.unchanged + _total(self.changed)

    @property
    def decided_again(self) -> int:
        """How many could be decided again: the self-check is ``reproduced`` of these."""
        return self.reproduced + _total(self.not_reproduced)

    @property
    def decisions(self) -> int:
        """How many there were."""
        return self.decided_again + sum(self.lost.values())


class Replay:
    """Takes decisions one by one, and remembers counts: as much memory as the policies have outcomes."""

    def __init__(self, changed: DecisionTable, made_by: Callable[[bytes], DecisionTable | None]) -> None:
        """``made_by`` gives the table of a policy by its digest, None when it is not kept."""
        self._changed = changed
        self._made_by = made_by
        self._unchanged = 0
        self._transitions: dict[Transition, Cases] = {}
        self._not_reproduced: dict[Transition, Cases] = {}
        self._lost: Counter[Lost] = Counter()
        self._flows: set[str] = set()

    def take(self, recorded: Recorded, standings: Sequence[Standing]) -> None:
        """Decide again. ``standings``: what may have stood, the likeliest first; none when it is not known.

        A change takes effect at the gate some time after it is recorded: in between, either standing may have decided.
        """
        why = _undecidable(recorded)
        made_by = self._made_by(recorded.policy) if recorded.policy is not None else None
        if why is None and made_by is None:
            why = Lost.POLICY_NOT_KEPT
        if why is None and not standings:
            why = Lost.STANDING_NOT_KEPT
        if why is not None or made_by is None or recorded.flow is None:
            self._lost[why or Lost.POLICY_NOT_KEPT] += 1
            return
        self._flows |= made_by.flow_ids
        self._compare(recorded, recorded.flow, made_by, standings)

    def lose(self, recorded: Recorded, why: Lost) -> None:
        """Count a decision whose subject nothing leads to, unless it would be lost anyway."""
        self._lost[_undecidable(recorded) or why] += 1

    def report(self) -> Report:
        """Say what was found so far."""
        gone, new = self._flows - self._changed.flow_ids, self._changed.flow_ids - self._flows
        return Report(
            unchanged=self._unchanged,
            changed=self._transitions,
            not_reproduced=self._not_reproduced,
            lost=self._lost,
            flows_gone=tuple(sorted(gone)),
            flows_new=tuple(sorted(new)),
        )

    def _compare(self, recorded: Recorded, flow: str, made_by: DecisionTable, standings: Sequence[Standing]) -> None:
        before = recorded.decision
        again = [made_by.decide(flow, standing, recorded.at_ms) for standing in standings]
        if before not in again:
            self._not_reproduced.setdefault(Transition(flow, before, again[0]), Cases()).add(recorded.id)
            return
        after = self._changed.decide(flow, standings[again.index(before)], recorded.at_ms)
        if after == before:
            self._unchanged += 1
        else:
            self._transitions.setdefault(Transition(flow, before, after), Cases()).add(recorded.id)


def _undecidable(recorded: Recorded) -> Lost | None:
    if recorded.decision.reason in _BEFORE_THE_POLICY:
        return Lost.NOT_OF_THE_POLICY
    return Lost.FLOW_NOT_NAMED if recorded.flow is None else None


def _total(cases: Mapping[Transition, Cases]) -> int:
    return sum(c.count for c in cases.values())
