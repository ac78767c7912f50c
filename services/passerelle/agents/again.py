"""A re-run: records of history go through the rules once more, and their proposals through the gate. Pure.

The gate drops what its source marks say was decided (DESIGN §6), so a re-run is a source of its own: its proposals name
the rule as ``<rule>~<run>``. Each run is decided once, however often it is begun anew, by the proof of DECISIONS.md 1:
it begins at the first record of its range, goes on in order, and what it sends again is at or below the mark. What was
permitted before is delivered again, under the event's own id and a decision of today.

* A *route* looks at each record of the outboxes again.
* A *join* is folded again from the beginning of its own log, and proposes where a record of the range triggers it: with
  the state as it was then, as far as the log still holds it, and with today's rules. What it holds now is not touched.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from passerelle.agents import entry as entries
from passerelle.agents.declared import Declarations
from passerelle.agents.entry import BadEntry
from passerelle.agents.logged import Hop, Logged
from passerelle.agents.proposing import Out
from passerelle.agents.reading import Heard, Record, Refused
from passerelle.agents.route import Route
from passerelle.agents.rules import applied, guarded
from passerelle.agents.state import State
from passerelle.envelope import parse_proposal
from passerelle.gate.again import again
from passerelle_consent.wire import DeadLetter
from passerelle_schemas.faults import Fault
from passerelle_schemas.topics import EXCHANGE

_RUN = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")

Ranges = Mapping[tuple[str, int], range]
"""(outbox topic, partition) → the offsets of history that are run again."""


class BadRun(Fault):
    """A run's id, or what it asks for, is not one that can be run."""


@dataclass(kw_only=True, slots=True)
class Tally:
    """What a re-run came to, by rule."""

    looked: Counter[str] = field(default_factory=Counter)
    """Records of the range that were looked at. A join looks at those that reached its log."""
    proposed: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(rule, flow) → proposals."""
    refused: Counter[str] = field(default_factory=Counter)
    """What is no event of the rule, or what it failed on: a dead letter tells of it since it was first seen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Again:
    """One run over some ranges of history."""

    run: str
    ranges: Ranges
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        if not _RUN.fullmatch(self.run):
            raise BadRun("a run's id is 1 to 40 of a-z, 0-9 and hyphens, and does not begin with a hyphen")

    def routed(self, component: str, route: Route, outcomes: Sequence[Heard | Refused]) -> list[Out]:
        """What a route proposes of outbox records, as this run's proposals: in order, and all of the range."""
        heard = [o for o in outcomes if isinstance(o, Heard)]
        outs = applied(component, route, heard, reports=False)
        proposals = self._proposals(outs)
        self.tally.looked[route.name] += len(outcomes)
        self.tally.refused[route.name] += len(outcomes) - len(heard) + len(outs) - len(proposals)
        return proposals

    def joined(self, component: str, join: Logged, state: State, records: Sequence[Record]) -> list[Out]:
        """What a join proposes of the next records of its log, where the range triggers it. ``state`` takes them in."""
        outs = [o for r in records for o in guarded(component, join.name, r, partial(join.step, state, r))]
        state.commit(records[-1].offset + 1, records[-1].timestamp - join.hold_ms)
        of_range = {r.offset for r in records if self._covers(join, r)}
        letters = (DeadLetter.decode(out.value) for out in outs if out.topic != EXCHANGE)
        self.tally.looked[join.name] += len(of_range)
        self.tally.refused[join.name] += sum(letter.offset in of_range for letter in letters)
        return self._proposals(outs)

    def _covers(self, join: Logged, record: Record) -> bool:
        try:
            entry = entries.decode(record.value, record.timestamp)
            topic = join.outboxes[entry.side].topic
        except (BadEntry, IndexError):
            return False
        return self._has(topic, entry.partition, entry.offset)

    def _has(self, topic: str, partition: int, offset: int) -> bool:
        return offset in self.ranges.get((topic, partition), range(0))

    def _proposals(self, outs: Iterable[Out]) -> list[Out]:
        """Renamed. Dead letters are left out: each was written when its record was first seen."""
        found = []
        for out in outs:
            if out.topic != EXCHANGE:
                continue
            said = parse_proposal(out.headers)
            at = said.origin
            if self._has(at.topic, at.partition, at.offset):
                self.tally.proposed[at.rule, said.flow] += 1
                found.append(out._replace(headers=again(out.headers, self.run)))
        return found


def chosen(app: Declarations, rules: Collection[str] = (), outboxes: Collection[str] = ()) -> list[Route | Logged]:
    """The rules to run again: all, or those named, that hear one of the event types. Raises `BadRun`."""
    known = {r.name: r for r in app.rules.values() if not isinstance(r, Hop)}
    heard = {box.contract.type for r in known.values() for box in r.outboxes}
    _known("rule", rules, known)
    _known("outbox", outboxes, heard)
    wanted = [r for r in known.values() if not rules or r.name in rules]
    return [r for r in wanted if not outboxes or any(box.contract.type in outboxes for box in r.outboxes)]


def topics_of(rules: Iterable[Route | Logged], outboxes: Collection[str] = ()) -> list[str]:
    """The outbox topics whose records the rules are run again for."""
    boxes = (box for rule in rules for box in rule.outboxes)
    return sorted({box.topic for box in boxes if not outboxes or box.contract.type in outboxes})


def _known(what: str, named: Collection[str], known: Collection[str]) -> None:
    if unknown := sorted(set(named) - set(known)):
        raise BadRun(f"no {what} {unknown[0]}", hint=f"there are {', '.join(sorted(known))}")
