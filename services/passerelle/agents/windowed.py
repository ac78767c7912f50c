"""A windowed join: events of several outboxes about one subject that happened close to each other. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from math import prod
from typing import Any

from passerelle.agents.entry import Entry
from passerelle.agents.join import of_several
from passerelle.agents.lineage import RuleFault
from passerelle.agents.logged import Folded, Held, Late, Logged, StateTooLarge, pruned, seen
from passerelle.agents.reading import Record

MATCHES_MAX = 1_000
"""Groups that one event may complete: all of them are proposed at once."""


class WindowedJoin(Logged):
    """Proposes each group of one event of every outbox whose times lie within ``window_ms`` of one another.

    Which groups there are does not depend on the order in which events arrive: whichever comes last triggers the
    group, and the group's time is that of its newest event. The subject's own newest event tells the time. An event
    older than it by more than window and grace is late; its partners are held for one window more.
    """

    kind = "windowed join"

    def __init__(self, *, window_ms: int, grace_ms: int, **declared: Any) -> None:
        """As `Logged`; times in ms. Raises `RuleFault`."""
        of_several(declared["name"], declared["outboxes"])
        super().__init__(**declared)
        self._window_ms = window_ms
        self._late_ms = window_ms + grace_ms
        self._keep_ms = 2 * window_ms + grace_ms
        if window_ms <= 0 or grace_ms < 0 or self._keep_ms > self.hold_ms:
            raise RuleFault("twice the window and the grace must fit into what is held (hold=…)", where=self.name)

    def fold(self, state: Held, record: Record) -> Folded | None:
        """See `Logged`."""
        subject, new = self._entry(record)
        held = self._held(state, subject, record)
        if seen(held, new):
            return None
        held.append(new)
        newest_ms = max(e.happened_ms for e in held)
        if new.happened_ms < newest_ms - self._late_ms:
            raise Late
        kept = pruned(held, lambda e: e.happened_ms >= newest_ms - self._keep_ms)
        if prod(map(len, self._near(new, kept).values())) > MATCHES_MAX:
            raise StateTooLarge
        state.put(subject, kept)
        return Folded(new, kept)

    def supersedes(self, _before: Entry, _later: Entry) -> bool:
        """See `Logged`: each group is said once, and stands by itself."""
        return False

    def _near(self, new: Entry, held: Iterable[Entry]) -> Mapping[int, Sequence[Entry]]:
        """Side → what may be grouped with an entry; of its own side nothing but itself."""
        near: dict[int, list[Entry]] = {side: [] for side in range(len(self.shapes))}
        near[new.side].append(new)
        for e in sorted(held, key=lambda e: e.order):
            if e.side != new.side and abs(e.happened_ms - new.happened_ms) <= self._window_ms:
                near[e.side].append(e)
        return near

    def _found(self, folded: Folded) -> Iterable[Sequence[Entry]]:
        groups = product(*self._near(folded.trigger, folded.held).values())
        return (group for group in groups if _span_ms(group) <= self._window_ms)

    def _occurred_ms(self, _trigger: Entry, found: Sequence[Entry]) -> int:
        return max(e.happened_ms for e in found)


def _span_ms(group: Sequence[Entry]) -> int:
    times = [e.happened_ms for e in group]
    return max(times) - min(times)
