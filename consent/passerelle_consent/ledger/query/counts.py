"""How many entries there were in each hour, day or month of UTC. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from passerelle_consent.ledger.query.select import Shape

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


class Every(StrEnum):
    """How long a time is counted together."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"

    def start(self, time_ms: int) -> int:
        """Return when the one began that a time is in."""
        if self is Every.HOUR:
            return time_ms - time_ms % HOUR_MS
        if self is Every.DAY:
            return time_ms - time_ms % DAY_MS
        return _ms(_time(time_ms).replace(day=1, hour=0, minute=0, second=0, microsecond=0))

    def after(self, start_ms: int) -> int:
        """Return when the next one begins."""
        if self is Every.MONTH:
            return self.start(start_ms + 31 * DAY_MS)
        return start_ms + (HOUR_MS if self is Every.HOUR else DAY_MS)

    def back(self, start_ms: int, count: int) -> int:
        """Return when the one began that lies so many before, not before 1970."""
        if self is not Every.MONTH:
            return max(0, start_ms - count * (HOUR_MS if self is Every.HOUR else DAY_MS))
        time = _time(start_ms)
        years, month = divmod(time.year * 12 + time.month - 1 - count, 12)
        return 0 if years < 1970 else _ms(time.replace(year=years, month=month + 1))  # noqa: PLR2004 - the epoch's


FITTING_MAX = 92
"""So many at most are told apart, unless somebody asks for more: the days of a quarter."""


def fitting(first_ms: int, last_ms: int) -> Every:
    """Return the shortest time of which there are no more than `FITTING_MAX` from one instant to another; months, else.

    ``first_ms``, ``last_ms``: epoch milliseconds of the first and the last entry.
    """
    for every, length in ((Every.HOUR, HOUR_MS), (Every.DAY, DAY_MS)):
        if (every.start(last_ms) - every.start(first_ms)) // length < FITTING_MAX:
            return every
    return Every.MONTH


class By(StrEnum):
    """What is told apart."""

    TYPE = "type"
    VERDICT = "verdict"
    REASON = "reason"
    FLOW = "flow"
    RECIPIENT = "recipient"
    DEPARTMENT = "department"
    AGREEMENT = "agreement"

    def values(self, shape: Shape) -> tuple[str | None, ...]:
        """Return what such an entry counts for: for each of its agreements, and for None where it says nothing."""
        if self is By.AGREEMENT:
            return shape.agreements or (None,)
        return (getattr(shape, self.value),)


@dataclass(frozen=True, kw_only=True, slots=True)
class Count:
    """So many entries say this, from this time on."""

    start_ms: int
    value: str | None
    count: int


def counted(tallies: Iterable[tuple[int, int, int]], shapes: Mapping[int, Shape], by: By) -> Iterator[Count]:
    """Add up tallies of (start, shape, count); yield by time, then by value."""
    values = {number: by.values(shape) for number, shape in shapes.items()}
    sums: Counter[tuple[int, str | None]] = Counter()
    for start_ms, shape, count in tallies:
        for value in values[shape]:
            sums[start_ms, value] += count
    for (start_ms, value), count in sorted(sums.items(), key=lambda item: (item[0][0], item[0][1] or "")):
        yield Count(start_ms=start_ms, value=value, count=count)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _time(time_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=time_ms)


def _ms(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(milliseconds=1)
