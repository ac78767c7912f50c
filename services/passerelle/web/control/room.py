"""What the control room shows, gathered: from the broker's watch, the supervisor's record, the services' own words."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from passerelle.city.supervised import Supervised
from passerelle.config import Home
from passerelle.dead_letters import Waiting, waiting
from passerelle.issuer import Bearing
from passerelle.letters import read
from passerelle.settling import Settled
from passerelle.web.control.pulse import FlowPace, Second
from passerelle.web.control.seen import Look
from passerelle.web.control.watch import Watch
from passerelle_consent.wire import Cause
from passerelle_schemas.faults import Fault

if TYPE_CHECKING:
    from passerelle.config import KafkaAccess

LETTERS_KEPT_S = 5.0
LATE_RECORDS = 1_000
"""A group that is so far behind is shown as late: some seconds of a busy city."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """How things are at one instant."""

    fresh: bool
    """Whether the broker answers: otherwise the figures are of before."""
    at: float
    """Seconds since 1970: when the broker was last looked at; 0 if never."""
    per_minute: int
    flows: Sequence[FlowPace]
    denials: Sequence[tuple[str, int]]
    series: Sequence[Second]
    look: Look | None

    def lag(self, group: str) -> int | None:
        """How far a group is behind; None when nobody knows."""
        return None if self.look is None else self.look.lags.get(group)


@dataclass(frozen=True, kw_only=True, slots=True)
class Settling:
    """What an operator does about a dead letter, as the command line does it."""

    replay: Callable[[str, str, Cause, Bearing], Settled]
    """Owner, reference, cause, and as whom the ledger is told. Raises `Fault`."""
    discard: Callable[[str, str, Cause, Bearing], Settled]


class Room:
    """The control room's parts, for as long as the site runs."""

    streams = 0
    """Browsers that are told of each look."""

    def __init__(self, watch: Watch, home: Home, owners: Sequence[str]) -> None:
        """``owners``: whose dead letters are shown."""
        self.watch = watch
        self.owners = owners
        self._home = home
        self._letters: tuple[float, Sequence[Waiting]] = float("-inf"), ()
        self._reading = asyncio.Lock()

    def snapshot(self) -> Snapshot:
        """Return what the broker's watch saw until now."""
        now = time.time()
        second = int(now)
        with self.watch.lock:
            last = self.watch.seen.last
            return Snapshot(
                fresh=self.watch.is_fresh(now),
                at=0.0 if last is None else last.at,
                per_minute=self.watch.pulse.per_minute(second),
                flows=self.watch.pulse.flows(second),
                denials=self.watch.pulse.denials(second),
                series=self.watch.pulse.series(second),
                look=last,
            )

    def rate(self, topics: Sequence[str]) -> float:
        """How many records a minute come to these topics."""
        with self.watch.lock:
            return self.watch.seen.per_minute(topics)

    def components(self) -> Mapping[str, tuple[bool, int]]:
        """What a supervisor of this home started: whether it lives, and how often it was started again."""
        try:
            found = Supervised.find(self._home)
        except Fault:
            return {}
        if found is None:
            return {}
        return {name: (one.alive, one.restarts) for name, one in found.components.items()}

    async def letters(self) -> Sequence[Waiting]:
        """Return what waits, of all owners, the longest first; some seconds old at most. Raises `Fault`."""
        async with self._reading:
            if time.monotonic() - self._letters[0] > LETTERS_KEPT_S:
                access = self.watch.access
                found = await asyncio.gather(*(asyncio.to_thread(_waiting, access, owner) for owner in self.owners))
                ordered = sorted((one for some in found for one in some), key=lambda one: one.first)
                self._letters = time.monotonic(), ordered
            return self._letters[1]

    def forget_letters(self) -> None:
        """After something was done about one."""
        self._letters = float("-inf"), ()


def _waiting(access: "KafkaAccess", owner: str) -> Sequence[Waiting]:
    return waiting(read(access, owner), owner)
