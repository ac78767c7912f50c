"""What the published counts say: of each flow in a month, of each month, and who sent to whom. Pure.

A number is None where fewer than twenty are not published. Numbers that are added up are of what is published alone:
then they are a lower bound, and the page says so.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from passerelle.web.register.sankey import Link

VERDICTS = ("permit", "redact", "deny")


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowFigures:
    """A flow in a month, as the table shows it."""

    id: str
    name: Mapping[str, str]
    sources: Sequence[str]
    recipient: str
    bases: Sequence[str]
    permit: int | None
    redact: int | None
    deny: int | None

    @property
    def sent(self) -> int | None:
        """What got through, whole or reduced."""
        return added(self.permit, self.redact)


@dataclass(frozen=True, kw_only=True, slots=True)
class MonthFigures:
    """All flows of a month together, of what is published."""

    month: str
    sent: int
    denied: int

    @property
    def day(self) -> str:
        """Its first."""
        return f"{self.month}-01"

    @property
    def refused(self) -> float | None:
        """Which part of the decisions denied."""
        decided = self.sent + self.denied
        return self.denied / decided if decided else None


def added(*counts: int | None) -> int | None:
    """Add what is published; None when nothing is."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def months(counts: Mapping[str, Any]) -> list[MonthFigures]:
    """Return each month, the latest first. ``counts``: the body of `/v1/register/counts`."""
    return [
        MonthFigures(
            month=month["month"],
            sent=sum(flow[v] or 0 for flow in month["flows"] for v in ("permit", "redact")),
            denied=sum(flow["deny"] or 0 for flow in month["flows"]),
        )
        for month in counts["months"]
    ]


def chosen(known: Sequence[MonthFigures], asked: str) -> MonthFigures | None:
    """Return the month that is asked for, else the latest with something to show, else the latest."""
    by_month = {each.month: each for each in known}
    if asked in by_month:
        return by_month[asked]
    return next((each for each in known if each.sent or each.denied), known[0] if known else None)


def flow_figures(
    flows: Iterable[Mapping[str, Any]], agreements: Iterable[Mapping[str, Any]], counts: Mapping[str, Any], month: str
) -> list[FlowFigures]:
    """Return the flows in force in a month, what was sent most first. ``flows``, ``agreements``: of the register."""
    by_ref = {agreement["agreement"]: agreement for agreement in agreements}
    counted = {flow["flow"]: flow for each in counts["months"] if each["month"] == month for flow in each["flows"]}
    shown = []
    for flow in flows:
        under = [by_ref[ref] for ref in flow["agreements"] if ref in by_ref]
        numbers = counted.get(flow["id"], dict.fromkeys(VERDICTS))
        shown.append(
            FlowFigures(
                id=flow["id"],
                name=flow["description"],
                sources=list(dict.fromkeys(a["source"] for a in under)),
                recipient=flow["recipient"],
                bases=list(dict.fromkeys(a["basis"] for a in under)),
                **{verdict: numbers[verdict] for verdict in VERDICTS},
            )
        )
    return sorted(shown, key=lambda flow: (-(flow.sent or 0), flow.id))


def links(flows: Iterable[FlowFigures]) -> list[Link]:
    """Return who sent to whom, and on which basis: what is made from two departments' data counts for either.

    A flow with several bases is drawn under its first agreement's: that is what it is sent for.
    """
    together: dict[tuple[str, str, str], int | None] = {}
    for flow in flows:
        for source in flow.sources:
            if source != flow.recipient:
                at = source, flow.recipient, flow.bases[0]
                together[at] = added(together.get(at), flow.sent)
    return [Link(source=s, recipient=r, basis=b, count=count) for (s, r, b), count in together.items()]
