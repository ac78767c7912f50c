"""What a run came to: `summary.json` and the table that people read."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from lutece.observer import Sightings
from lutece.voices import Withdrawal
from passerelle_consent.policy.bundle import PolicyBundle


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Everything counted in one run."""

    seen: Sightings
    withdrawals: Sequence[Withdrawal]
    delivered_after_ack: int
    input_rows: int
    replays_dropped: int
    ledger: dict[str, Any]
    seconds: float

    def summary(self) -> dict[str, Any]:
        """As `summary.json` has it (DESIGN §11)."""
        seen = self.seen
        verdicts: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        for (_, verdict, reason), n in seen.decisions.items():
            verdicts[verdict] += n
            if verdict == "deny":
                reasons[reason] += n
        fence = [w.fence_ms for w in self.withdrawals]
        return {
            "input_rows": self.input_rows,
            "published": sum(seen.published.values()) + seen.unreadable_events,
            "proposals": len(seen.proposals),
            "decisions": {verdict: verdicts[verdict] for verdict in ("permit", "redact", "deny")},
            "denied_by_reason": dict(sorted(reasons.items())),
            "delivered": dict(sorted(Counter(d.recipient for d in seen.deliveries).items())),
            "delivered_by_flow": dict(sorted(Counter(d.flow for d in seen.deliveries).items())),
            "dead_letters": dict(sorted(seen.dead_letters.items())),
            "replays_dropped": self.replays_dropped,
            "decided_twice": sum(1 for n in seen.decided.values() if n > 1),
            "withdrawals": {
                "acked": len(self.withdrawals),
                "fence_ms_p50": quantile(fence, 0.50),
                "fence_ms_p99": quantile(fence, 0.99),
                "delivered_after_ack": self.delivered_after_ack,
            },
            "latency_ms": {
                "p50": quantile(seen.latencies_ms(), 0.50),
                "p99": quantile(seen.latencies_ms(), 0.99),
            },
            "ledger": self.ledger,
            "seconds": round(self.seconds, 1),
        }

    def tables(self, bundle: PolicyBundle) -> Iterable[Table]:
        """By flow, then the run as a whole."""
        yield self._by_flow(bundle)
        yield self._whole()

    def _by_flow(self, bundle: PolicyBundle) -> Table:
        seen = self.seen
        proposed = Counter(flow for flow, _ in seen.proposals.values())
        delivered = Counter(d.flow for d in seen.deliveries)
        table = Table(title="What was shared, by flow")
        table.add_column("Flow", no_wrap=True)
        for heading in ("Proposed", "Permitted", "Redacted", "Denied", "Delivered", "p50 ms", "p99 ms"):
            table.add_column(heading, justify="right")
        table.add_column("Denied because", overflow="fold")
        for flow in bundle.flows:
            latencies = seen.latencies_ms(flow.id)
            denied = {r: n for (f, v, r), n in seen.decisions.items() if f == flow.id and v == "deny"}
            table.add_row(
                flow.id,
                *(str(n) for n in (proposed[flow.id], self._verdicts(flow.id, "permit"))),
                *(str(n) for n in (self._verdicts(flow.id, "redact"), sum(denied.values()), delivered[flow.id])),
                *(_shown(quantile(latencies, q)) for q in (0.50, 0.99)),
                ", ".join(f"{reason} {n}" for reason, n in sorted(denied.items())),
            )
        return table

    def _verdicts(self, flow: str, verdict: str) -> int:
        return sum(n for (f, v, _), n in self.seen.decisions.items() if (f, v) == (flow, verdict))

    def _whole(self) -> Table:
        summary = self.summary()
        said, ledger = summary["withdrawals"], summary["ledger"]
        table = Table(title="The run as a whole", show_header=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        dead = ", ".join(f"{reason} {n}" for reason, n in summary["dead_letters"].items()) or "none"
        latency = summary["latency_ms"]
        rows = {
            "Published": f"{summary['published']} events, {summary['input_rows']} of them from files",
            "Dead letters": dead,
            "Replays dropped": str(self.replays_dropped),
            "Publish to inbox": f"p50 {_shown(latency['p50'])} ms, p99 {_shown(latency['p99'])} ms",
            "Withdrawals": f"{said['acked']} acknowledged, each after the fence: "
            f"p50 {_shown(said['fence_ms_p50'])} ms, p99 {_shown(said['fence_ms_p99'])} ms",
            "Delivered after a withdrawal": str(self.delivered_after_ack),
            "Ledger": f"{ledger['size']} entries, root {ledger['root']}, "
            f"{'verified' if ledger['verified'] else 'NOT VERIFIED'}",
        }
        for name, value in rows.items():
            table.add_row(name, value)
        return table


def quantile(values: Sequence[float], q: float) -> float | None:
    """The q-quantile, milliseconds with one decimal; None of nothing."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * q))], 1) if ordered else None


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"
