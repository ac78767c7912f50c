"""How much each flow carried in each month, for everybody: what the log's counts become before they are published.

A count of a few could be somebody: that the only family of a street asked for a place, or that it withdrew. So a count
below `FEWEST` is not told, and neither is whether it was none. Nothing is published from which it could be worked out
by taking one number from another: there are no sums, of verdicts or of flows. Pure.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from passerelle_consent.policy.decide import Verdict
from passerelle_consent.records.log import Tally

FEWEST = 20
"""Statistical offices publish no count of fewer than some ten people; one person may be behind several decisions."""

MONTHS = 13
"""A year, and the month that this one is compared with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowCounts:
    """Of one flow in one month; None for what is too few to tell, none at all among it."""

    flow: str
    permit: int | None
    redact: int | None
    deny: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class MonthCounts:
    """Of one month of UTC, as `2026-11`; every flow in force is there."""

    month: str
    flows: Sequence[FlowCounts]


def first_month_ms(now_ms: int) -> int:
    """Return when the earliest of the months began that are published (epoch milliseconds)."""
    now = _time(now_ms)
    years, month = divmod(now.year * 12 + now.month - MONTHS, 12)
    return int(datetime(years, month + 1, 1, tzinfo=UTC).timestamp() * 1000)


def published(
    tallies: Mapping[Verdict, Iterable[Tally]], in_force: Collection[str], *, now_ms: int
) -> list[MonthCounts]:
    """Return the months up to now, the latest first, from the log's counts by flow.

    A flow that is not in force any more is told of where it has something to tell.
    """
    counts = {
        (_month(tally.start_ms), tally.value, verdict): tally.count
        for verdict, counted in tallies.items()
        for tally in counted
        if tally.value is not None and tally.count >= FEWEST
    }
    months = sorted({_month(now_ms), *(month for month, _, _ in counts)}, reverse=True)[:MONTHS]
    return [
        MonthCounts(
            month=month,
            flows=[
                FlowCounts(flow=flow, **{v.value: counts.get((month, flow, v)) for v in Verdict})
                for flow in sorted({*in_force, *(f for m, f, _ in counts if m == month)})
            ],
        )
        for month in months
    ]


def _month(at_ms: int) -> str:
    return f"{_time(at_ms):%Y-%m}"


def _time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
