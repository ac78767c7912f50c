"""What the gate decides, second by second, for the last ten minutes: counts alone, nobody's. Pure, bounded."""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WINDOW_S = 600
MINUTE_S = 60

Kind = tuple[str, str, str]
"""Flow, verdict, reason; the flow is "" where no rule was known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowPace:
    """One flow over the last minute."""

    flow: str
    per_minute: int
    redacted: float
    """Parts of one."""
    denied: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Second:
    """One second: how many of each verdict."""

    at: int
    """Seconds since 1970."""
    permit: int
    redact: int
    deny: int


class Pulse:
    """Counts by second. What comes late is counted in its own second, while that is still kept."""

    def __init__(self) -> None:
        self._seconds: OrderedDict[int, Counter[Kind]] = OrderedDict()

    def add(self, at: int, kinds: Iterable[Kind]) -> None:
        """Count decisions of one second (since 1970)."""
        newest = max(self._seconds, default=at)
        if at <= newest - WINDOW_S:
            return
        self._seconds.setdefault(at, Counter()).update(kinds)
        for second in [s for s in self._seconds if s <= max(newest, at) - WINDOW_S]:
            del self._seconds[second]

    def flows(self, now: int) -> Sequence[FlowPace]:
        """Return the flows of the last whole minute, the busiest first."""
        by_flow: dict[str, Counter[str]] = {}
        for (flow, verdict, _), count in self._since(now - MINUTE_S, now).items():
            by_flow.setdefault(flow, Counter())[verdict] += count
        paces = [
            FlowPace(
                flow=flow,
                per_minute=verdicts.total(),
                redacted=verdicts["redact"] / verdicts.total(),
                denied=verdicts["deny"] / verdicts.total(),
            )
            for flow, verdicts in by_flow.items()
        ]
        return sorted(paces, key=lambda pace: (-pace.per_minute, pace.flow))

    def denials(self, now: int) -> Sequence[tuple[str, int]]:
        """Return how often each reason denied within the window, the most frequent first."""
        reasons: Counter[str] = Counter()
        for (_, verdict, reason), count in self._since(now - WINDOW_S, now).items():
            if verdict == "deny":
                reasons[reason] += count
        return sorted(reasons.items(), key=lambda found: (-found[1], found[0]))

    def series(self, now: int) -> Sequence[Second]:
        """Return every second of the window, oldest first; one in which nothing was decided is there too."""
        return [self._second(at) for at in range(now - WINDOW_S, now)]

    def per_minute(self, now: int) -> int:
        """Return the decisions of the last whole minute."""
        return self._since(now - MINUTE_S, now).total()

    def _second(self, at: int) -> Second:
        verdicts: Counter[str] = Counter()
        for (_, verdict, _), count in self._seconds.get(at, Counter()).items():
            verdicts[verdict] += count
        return Second(at=at, permit=verdicts["permit"], redact=verdicts["redact"], deny=verdicts["deny"])

    def _since(self, first: int, end: int) -> Counter[Kind]:
        found: Counter[Kind] = Counter()
        for at, kinds in self._seconds.items():
            if first <= at < end:
                found.update(kinds)
        return found
