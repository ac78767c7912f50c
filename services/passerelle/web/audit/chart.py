"""Entries over time as bars: drawn on the server, with a table that says the same. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

SLOTS_MIN = 12
"""So that one bar alone is not the whole drawing."""

SLOT, GAP, HEIGHT = 10, 2, 60
VERDICTS = ("permit", "redact", "deny", "")
"""From the foot of a bar up; the last are entries that are no decisions."""
TOTALS_MAX = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A rectangle of a bar."""

    verdict: str
    count: int
    y: float
    height: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One hour, day or month of UTC that has entries."""

    start: str
    x: int
    counts: Mapping[str, int]
    parts: Sequence[Part]

    @property
    def total(self) -> int:
        """All of its entries."""
        return sum(self.counts.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """Bars by time. ``every``: hour, day or month."""

    every: str
    width: int
    most: int
    bars: Sequence[Bar]


def chart(counts: Sequence[Mapping[str, Any]], every: str) -> Chart:
    """Draw the service's counts by verdict."""
    slots = {count["start"]: _slot(count["start"], every) for count in counts}
    tallies: dict[str, Counter[str]] = {}
    for count in counts:
        tallies.setdefault(count["start"], Counter())[count["value"] or ""] += count["count"]
    most = max((tally.total() for tally in tallies.values()), default=0)
    first = min(slots.values(), default=0)
    bars = [_bar(start, (slots[start] - first) * SLOT, tally, most) for start, tally in sorted(tallies.items())]
    width = max(SLOTS_MIN, max(slots.values(), default=0) - first + 1) * SLOT
    return Chart(every=every, width=width, most=most, bars=bars)


def totals(counts: Sequence[Mapping[str, Any]]) -> Sequence[tuple[str, int]]:
    """Add up counts over all time; the most frequent values first, those without one left out."""
    sums: Counter[str] = Counter()
    for count in counts:
        if count["value"] is not None:
            sums[count["value"]] += count["count"]
    return sums.most_common(TOTALS_MAX)


def _bar(start: str, x: int, tally: Counter[str], most: int) -> Bar:
    parts, foot = [], float(HEIGHT)
    for verdict in VERDICTS:
        if count := tally[verdict]:
            height = HEIGHT * count / most
            foot -= height
            parts.append(Part(verdict=verdict, count=count, y=foot, height=height))
    return Bar(start=start, x=x, counts=dict(tally), parts=parts)


def _slot(start: str, every: str) -> int:
    at = datetime.fromisoformat(start)
    if every == "month":
        return at.year * 12 + at.month
    return int(at.timestamp()) // (3_600 if every == "hour" else 86_400)
