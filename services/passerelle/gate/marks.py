"""Source marks: what makes at-least-once agents exact (DESIGN §6).

Proposals of one rule from one outbox partition arrive in (offset, n) order, with replays. So the highest pair decided
says of every other whether it was decided. Exact for ever, in memory that grows with the sources and not with time.
"""

from collections.abc import Mapping

from passerelle_consent.wire import Mark, Origin, mark_key
from passerelle_schemas.topics import EXCHANGE

UNREADABLE_RULE = "unreadable"
"""The rule of what has no readable origin. Its (topic, partition, offset) are then those of the exchange itself."""


def exchange_origin(partition: int, offset: int) -> Origin:
    """Identify a record without readable origin by where it lies: the same however often it is read."""
    return Origin(rule=UNREADABLE_RULE, topic=EXCHANGE, partition=partition, offset=offset)


class Advances:
    """The marks as one transaction moves them. ``settled`` is only read: an aborted transaction leaves it as it was."""

    def __init__(self, settled: Mapping[bytes, Mark]) -> None:
        self._settled = settled
        self.moved: dict[bytes, Mark] = {}

    def advance(self, origin: Origin) -> bool:
        """Move the mark of this source up to ``origin``; False when it is there already: a replay."""
        source = mark_key(origin)
        highest = self.moved.get(source) or self._settled.get(source)
        if highest is not None and (origin.offset, origin.n) <= (highest.offset, highest.n):
            return False
        self.moved[source] = Mark(offset=origin.offset, n=origin.n)
        return True
