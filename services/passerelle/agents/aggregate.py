"""An aggregate: what one subject's events of one outbox come to in each window of time. Pure."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from passerelle.agents.entry import Entry
from passerelle.agents.lineage import Folding, RuleFault, View
from passerelle.agents.logged import Folded, Held, Late, Logged, pruned, seen
from passerelle.agents.reading import Record
from passerelle_consent.policy.flows import Flow


class Aggregate(Logged):
    """Proposes, with each event, what its window has come to: every field folded over the window's events.

    Windows tumble: they follow each other without a gap, the first began with 1970 (UTC). Their events are held, and
    folded in the order in which they happened: whatever the order of arrival, what a window comes to in the end is
    the same. The subject's own newest event tells the time: what belongs to a window that ended more than ``grace_ms``
    before it is late.
    """

    kind = "aggregate"

    def __init__(self, *, window_ms: int, grace_ms: int, **declared: Any) -> None:
        """As `Logged`, of one outbox; times in ms. Raises `RuleFault`."""
        if not all(isinstance(source, Folding) for source in declared["fields"].values()):
            raise RuleFault("each field of an aggregate is folded(…)", where=declared["name"])
        super().__init__(**declared)
        self._window_ms = window_ms
        self._grace_ms = grace_ms
        if window_ms <= 0 or grace_ms < 0 or window_ms + grace_ms > self.hold_ms:
            raise RuleFault("window and grace must fit into what is held (hold=…)", where=self.name)

    def fold(self, state: Held, record: Record) -> Folded | None:
        """See `Logged`."""
        subject, new = self._entry(record)
        held = self._held(state, subject, record)
        if seen(held, new):
            return None
        held.append(new)
        newest_ms = max(e.happened_ms for e in held)

        def open_(e: Entry) -> bool:
            return (self._window(e) + 1) * self._window_ms + self._grace_ms > newest_ms

        if not open_(new):
            raise Late
        kept = pruned(held, open_)
        state.put(subject, kept)
        return Folded(new, kept)

    def supersedes(self, before: Entry, later: Entry) -> bool:
        """See `Logged`: of one window, the last is what it came to."""
        return self._window(before) == self._window(later)

    def _window(self, entry: Entry) -> int:
        return entry.happened_ms // self._window_ms

    def _found(self, folded: Folded) -> Iterable[Sequence[Entry]]:
        window = self._window(folded.trigger)
        return (sorted((e for e in folded.held if self._window(e) == window), key=lambda e: e.order),)

    def _made(self, found: Sequence[Entry]) -> tuple[Flow | None, Callable[[], bytes]]:
        """The author's function sees what the fields came to: that is what is proposed, so it may read all of it."""
        (shape,) = self.shapes
        rows = [shape.decode(e.body) for e in found]
        values = self._recipe.values([{name: [row[name] for row in rows] for name in shape.fields}])
        flow = self._choice.pick(View(values, frozenset(values)))
        return flow, lambda: self._choice.contract.encode(values)

    def _occurred_ms(self, _trigger: Entry, found: Sequence[Entry]) -> int:
        return max(e.happened_ms for e in found)
