"""The report of `passerelle policy replay`: for people, and as JSON. Decisions by their ids, never a person."""

from collections.abc import Mapping
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from passerelle_consent.policy.decide import Decision
from passerelle_consent.policy.replay import Cases, Report, Transition


def tell(report: Report, digest: bytes) -> None:
    """Print what would have been different, and how sure that is. ``digest``: of the changed policy."""
    console = Console()
    table = Table("Flow", "Was", "Would be", "Decisions", "For example", caption=f"policy {digest.hex()}")
    for transition, cases in _by_count(report.changed):
        examples = "\n".join(ident.hex() for ident in cases.examples)
        table.add_row(transition.flow, _word(transition.before), _word(transition.after), str(cases.count), examples)
    if report.changed:
        console.print(table)
    different = sum(cases.count for cases in report.changed.values())
    console.print(f"{report.decisions} decisions: {different} would be different, {report.unchanged} the same")
    console.print(
        f"Self-check: {report.reproduced} of {report.decided_again} reproduced under the policy of their time"
    )
    for transition, cases in _by_count(report.not_reproduced):
        was, now = _word(transition.before), _word(transition.after)
        console.print(f"  not reproduced: {transition.flow}: recorded {was}, comes out {now}: {cases.count}")
    for why, count in sorted(report.lost.items()):
        console.print(f"Cannot be decided again: {why.value}: {count}")
    for flow in report.flows_gone:
        console.print(f"Flow {flow} is not in the changed policy: all of it would be denied")
    for flow in report.flows_new:
        console.print(f"Flow {flow} is new: nothing was decided on it")


def _by_count(cases: Mapping[Transition, Cases]) -> list[tuple[Transition, Cases]]:
    return sorted(cases.items(), key=lambda item: (-item[1].count, item[0].flow))


def _word(decision: Decision) -> str:
    without = f" without {', '.join(decision.withheld)}" if decision.withheld else ""
    return f"{decision.verdict.value} ({decision.reason.value}){without}"


def plain(report: Report, digest: bytes, since_ms: int) -> dict[str, object]:
    """Return the report as JSON has it; ids and digests as hexadecimal, the time as RFC 3339."""
    return {
        "policy": digest.hex(),
        "since": datetime.fromtimestamp(since_ms / 1000, UTC).isoformat(timespec="milliseconds"),
        "decisions": report.decisions,
        "unchanged": report.unchanged,
        "changed": [_plain_case(*item) for item in _by_count(report.changed)],
        "self_check": {
            "decided_again": report.decided_again,
            "reproduced": report.reproduced,
            "not_reproduced": [_plain_case(*item) for item in _by_count(report.not_reproduced)],
        },
        "lost": {why.value: count for why, count in sorted(report.lost.items())},
        "flows_gone": list(report.flows_gone),
        "flows_new": list(report.flows_new),
    }


def _plain_case(transition: Transition, cases: Cases) -> dict[str, object]:
    return {
        "flow": transition.flow,
        "before": _plain_decision(transition.before),
        "after": _plain_decision(transition.after),
        "count": cases.count,
        "examples": [ident.hex() for ident in cases.examples],
    }


def _plain_decision(decision: Decision) -> dict[str, object]:
    return {
        "verdict": decision.verdict.value,
        "reason": decision.reason.value,
        "withheld": list(decision.withheld),
    }
