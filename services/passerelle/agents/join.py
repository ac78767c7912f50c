"""A join of the newest event of each of its outboxes, by subject. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any

from passerelle.agents.entry import Entry
from passerelle.agents.lineage import Outbox, RuleFault
from passerelle.agents.logged import Folded, Held, Logged
from passerelle.agents.reading import Record


class Join(Logged):
    """Latest ⋈ latest: proposes when one of its inputs changes and all are known.

    A replayed entry is never newer than the one held, so a second delivery by a hop changes and proposes nothing.
    """

    kind = "join"

    def __init__(self, **declared: Any) -> None:
        """As `Logged`. Raises `RuleFault`."""
        of_several(declared["name"], declared["outboxes"])
        super().__init__(**declared)

    def fold(self, state: Held, record: Record) -> Folded | None:
        """See `Logged`."""
        subject, new = self._entry(record)
        held = {e.side: e for e in self._held(state, subject, record)}
        if new.side in held and held[new.side].order >= new.order:
            return None
        held[new.side] = new
        state.put(subject, list(held.values()))
        return Folded(new, [held[side] for side in sorted(held)])

    def _found(self, folded: Folded) -> Iterable[Sequence[Entry]]:
        return (folded.held,) if len(folded.held) == len(self.shapes) else ()


def of_several(rule: str, outboxes: Sequence[Outbox]) -> None:
    """Raises `RuleFault` for what is no join."""
    if len({o.contract.type for o in outboxes}) != len(outboxes) or len(outboxes) < 2:  # noqa: PLR2004 - a pair
        raise RuleFault("a join takes two or more different outboxes", where=rule)
