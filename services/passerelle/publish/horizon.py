"""Up to which row of an outbox everything is settled: committed, or never to come. Pure.

Ids are drawn before transactions commit, so a row may appear below others that were published. Nothing is lost by
that, as the relay deletes what it published and keeps no mark. But order is: of two rows about one person the later
one would go first. So a row goes once every transaction that was writing to the outbox when the row was first seen has
ended; whoever begins after that draws a higher id. A transaction that writes to the outbox and stays open holds back
what others wrote after it: the decision record `0001-in-the-order-of-ids.md` weighs that.
"""

PREPARED = "prepared"
"""Stands for every writer that waits in a two-phase commit: it goes by another name than before."""


class Horizon:
    """Fed with what `OutboxTable.look` saw, one look after the other."""

    def __init__(self) -> None:
        self._settled = 0
        self._seen: tuple[int, frozenset[str]] | None = None

    @property
    def held(self) -> bool:
        """Whether rows wait for somebody's transaction."""
        return self._seen is not None

    def look(self, newest: int, writers: frozenset[str]) -> int:
        """Return the id up to which all is settled. ``writers``: who had the table open when ``newest`` was seen."""
        if self._seen is not None and PREPARED not in writers and self._seen[1].isdisjoint(writers):
            self._settled = max(self._settled, self._seen[0])
            self._seen = None
        if not writers:
            self._settled = max(self._settled, newest)
            self._seen = None
        elif self._seen is None and newest > self._settled:
            self._seen = newest, writers
        return self._settled
