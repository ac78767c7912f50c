"""What the broker says of itself, once every few seconds: how much came, and who is how far behind. Pure."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

KEPT = 150
"""Looks: five minutes of one every two seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """One look at the broker."""

    at: float
    """Seconds since 1970."""
    ends: Mapping[str, int]
    """Topic → records that it ever had, all partitions together."""
    lags: Mapping[str, int]
    """Consumer group → records that it has not taken yet."""


@dataclass(kw_only=True, slots=True)
class Seen:
    """The looks of the last minutes."""

    looks: deque[Look] = field(default_factory=lambda: deque(maxlen=KEPT))

    def add(self, look: Look) -> None:
        """Keep a look; the oldest goes."""
        self.looks.append(look)

    @property
    def last(self) -> Look | None:
        """The newest look."""
        return self.looks[-1] if self.looks else None

    def per_minute(self, topics: Sequence[str]) -> float:
        """How many records a minute came to these topics, over the last minute or as long as was looked."""
        if len(self.looks) < 2:  # noqa: PLR2004 - a difference needs two
            return 0.0
        last = self.looks[-1]
        first = next(look for look in self.looks if look.at >= last.at - 60.0 or look is last)
        if first is last:
            first = self.looks[-2]
        came = sum(last.ends.get(topic, 0) - first.ends.get(topic, 0) for topic in topics)
        return max(0.0, came * 60.0 / max(last.at - first.at, 0.001))
