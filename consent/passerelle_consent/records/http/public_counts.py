"""What each flow carried, month by month, for everybody: no sign-in, and nothing about anybody (`public_counts`).

Unlike the auditors' counts (`ledger`), reading it is not told to the ledger: it is asked of the log once a minute, for
all who read it.
"""

import asyncio
from collections.abc import Mapping
from typing import Self

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from passerelle_consent.policy.decide import Verdict
from passerelle_consent.records import problems, public_counts
from passerelle_consent.records.http.access import GuardedRoute
from passerelle_consent.records.http.answers import refuses
from passerelle_consent.records.http.calls import records_of
from passerelle_consent.records.log import LogFilter, PublishedLog, Tally
from passerelle_consent.records.public_counts import FEWEST, FlowCounts, MonthCounts
from passerelle_consent.records.service import Records

KEPT_MS = 60_000
FRESH = f"public, max-age={KEPT_MS // 1000}"

router = APIRouter(route_class=GuardedRoute)


class FlowCountsOut(BaseModel):
    """Decisions about one flow. Null: fewer than `fewer_than`, or none."""

    flow: str
    permit: int | None
    redact: int | None
    deny: int | None

    @classmethod
    def of(cls, counts: FlowCounts) -> Self:
        """Write it out."""
        return cls(flow=counts.flow, permit=counts.permit, redact=counts.redact, deny=counts.deny)


class MonthCountsOut(BaseModel):
    """A month of UTC, with every flow in force."""

    month: str
    flows: list[FlowCountsOut]


class PublicCountsOut(BaseModel):
    """The latest month first. Counts below `fewer_than` are not published; there are no sums to work them out from."""

    fewer_than: int
    months: list[MonthCountsOut]


class KeptCounts:
    """The counts as they were asked of the log last: one of a service, at most `KEPT_MS` old."""

    def __init__(self) -> None:
        self._held: tuple[int, list[MonthCounts]] | None = None
        self._asking = asyncio.Lock()

    async def months(self, records: Records) -> list[MonthCounts]:
        """Return them. Raises `Problem` ledger-unavailable, overloaded."""
        async with self._asking:  # who comes meanwhile takes what the first one was told
            now_ms = records.now_ms()
            if self._held is None or now_ms - self._held[0] >= KEPT_MS:
                first_ms = public_counts.first_month_ms(now_ms)
                tallies = await records.from_log(lambda log: _by_verdict(log, first_ms))
                in_force = [flow.id for flow in records.flows]
                self._held = now_ms, public_counts.published(tallies, in_force, now_ms=now_ms)
            return self._held[1]


def _by_verdict(log: PublishedLog, since_ms: int) -> Mapping[Verdict, list[Tally]]:
    asked = {verdict: LogFilter(since_ms=since_ms, type="decision", verdict=verdict) for verdict in Verdict}
    return {verdict: list(log.counts(wanted, by="flow", every="month")[0].counts) for verdict, wanted in asked.items()}


@router.get("/v1/register/counts")
@refuses(problems.LEDGER_UNAVAILABLE, problems.OVERLOADED)
async def counts(request: Request, response: Response) -> PublicCountsOut:
    """Count the decisions of each flow by month and verdict, for the last year."""
    kept: KeptCounts = request.app.state.public_counts
    months = await kept.months(records_of(request))
    response.headers["Cache-Control"] = FRESH
    return PublicCountsOut(
        fewer_than=FEWEST,
        months=[MonthCountsOut(month=m.month, flows=[FlowCountsOut.of(f) for f in m.flows]) for m in months],
    )
