"""Judge a history alone: `python tests/faults/judge.py <history>`.

Exit code 0: everything holds. 1: violated, each violation with its coordinates. 2: could not tell.

Needs neither a broker nor the project's own code; the form of the file is in `history.py`, the second reading of the
policy in `second_opinion.py`. What is judged:

* I1: one decision for each proposal; none is missing below the group's committed position, none at all once drained.
* I2: each decision is what the policy says on the standing at the consent position that its transaction committed.
* I2d: each permitted or redacted decision is delivered exactly once, with the right fields; nothing else is delivered.
* I3c: after the acknowledgement nothing that relied on an older standing is COMMITTED: no commit marker at or beyond
  the inbox's end noted then.
* I3v: nor becomes VISIBLE: no such delivery at or beyond the last stable offset noted then.
* I3x: both once more, trusting nothing that the gate wrote: between an acknowledgement and the inbox's end noted
  before the next give, nothing under that agreement comes to stand.
* I6: a subject's deliveries stand in an inbox in the order of its proposals.
* F: the fence, and the positions committed with it, never go back; nothing is acknowledged without it.

A delivery is *under* an agreement when a field that needs this agreement says something: a street report without its
contact is not under the contact's agreement.

No barrier is asked for between the fence and the acknowledgement: inbox partition i is written by task i alone, so its
marker cannot overtake an earlier delivery. I3v is what tests that claim.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

if not __package__:  # run as a script: its siblings are found from the folder above
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults.case import CannotTell, Case, Closed, Under, place
from faults.history import Decided, Delivery, Exchange, History, Incomplete, Position, Withdrawal, read
from faults.second_opinion import Opinion, Reading, Unreadable

RULES = {
    "I1": "one decision a proposal, none missing",
    "I2": "decisions are what the consent records say",
    "I2d": "deliveries are what the decisions say",
    "I3c": "nothing committed after the acknowledgement",
    "I3v": "nothing visible after the acknowledgement",
    "I3x": "the same, trusting nothing the gate wrote",
    "I6": "order of each subject",
    "F": "the fence never goes back",
}
SHOWN_MAX = 20
"""Violations printed for each rule, unless all are asked for."""


@dataclass(kw_only=True)
class Findings:
    """How often each rule was applied, and where it was broken."""

    applied: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RULES, 0))
    violations: dict[str, list[str]] = field(default_factory=lambda: {rule: [] for rule in RULES})
    counts: dict[str, int] = field(default_factory=dict)

    def check(self, rule: str, holds: bool, *what: object) -> bool:  # noqa: FBT001 - it reads as an assertion
        self.applied[rule] += 1
        if not holds:
            self.violations[rule].append(" ".join(map(str, what)))
        return holds

    @property
    def hold(self) -> bool:
        return not any(self.violations.values())

    def broken(self) -> dict[str, int]:
        """Rule → violations, of the broken ones."""
        return {rule: len(found) for rule, found in self.violations.items() if found}


def judge(history: History) -> Findings:
    """Raises `CannotTell`."""
    case, findings = Case(history), Findings()
    case.check_whole()
    _one_decision_each(case, findings)
    for origin, proposal in case.proposals.items():
        for decided in case.decisions.get(origin, []):
            _decision_is_right(case, findings, proposal, decided)
            _delivered_as_decided(case, findings, proposal, decided)
            for delivery in case.deliveries.get(decided.id, []):
                _nothing_after_acknowledgement(case, findings, proposal, delivery)
    _no_other_delivery(case, findings)
    _order_is_kept(case, findings)
    _fence_never_goes_back(case, findings)
    _acknowledged_by_the_fence(case, findings)
    findings.counts = _counts(case)
    return findings


def _one_decision_each(case: Case, findings: Findings) -> None:
    committed, drained = case.history.end.committed, case.history.end.drained
    for origin, proposal in case.proposals.items():
        found = case.decisions.get(origin, [])
        due = drained or proposal.offset < committed.get(str(proposal.partition), 0)
        where = f"exchange/{proposal.partition}@{proposal.offset} ({origin})"
        findings.check("I1", len(found) <= 1, where, "has", len(found), "decisions")
        findings.check("I1", bool(found) or not due, where, "has no decision")
    for origin, found in case.decisions.items():
        for d in found if origin not in case.proposals else []:
            findings.check("I1", False, f"decisions/{d.partition}@{d.offset}: no proposal", origin)  # noqa: FBT003


def _decision_is_right(case: Case, findings: Findings, proposal: Exchange, decided: Decided) -> None:
    where = f"decisions/{decided.partition}@{decided.offset} {decided.id}"
    applied = case.applied(proposal)
    if not findings.check("I2", applied is not None, where, "was committed by no transaction of the group"):
        return
    log = case.consent[proposal.partition]
    policy = log.policy(applied or 0)
    same = decided.policy == policy and decided.partition == proposal.partition
    if not findings.check("I2", same, where, "policy", decided.policy[:8], "in force", (policy or "none")[:8]):
        return
    ref = proposal.ref
    standing = log.standing(ref, applied or 0)
    flow = proposal.flow if proposal.origin else None  # without an origin the headers are not those of a proposal
    told = case.policies[policy or ""].opinion(flow, proposal.type, proposal.value, standing, decided.at_ms)
    found = Opinion(decided.verdict, decided.reason, tuple(decided.withheld))
    at = f"at consent/{proposal.partition}<{applied}"
    findings.check("I2", found == told and decided.ref == ref, where, f"{found} should be {told}", at)


def _delivered_as_decided(case: Case, findings: Findings, proposal: Exchange, decided: Decided) -> None:
    found = case.deliveries.get(decided.id, [])
    wanted = 0 if decided.verdict == "deny" else 1
    right = len(found) == wanted
    findings.check("I2d", right, f"decision {decided.id} ({decided.verdict}) delivered", list(map(place, found)))
    reading = case.policies.get(decided.policy)
    if reading is None or not wanted:
        return
    for delivery in found:
        wrong = list(_wrong_with(case, reading, proposal, decided, delivery))
        findings.check("I2d", not wrong, place(delivery), "wrong:", ", ".join(wrong))


def _wrong_with(
    case: Case, reading: Reading, proposal: Exchange, decided: Decided, delivery: Delivery
) -> Iterator[str]:
    flow = reading.flows[decided.flow or ""]
    expected = {
        "recipient": (delivery.recipient, flow["recipient"]),
        "partition": (delivery.partition, proposal.partition),
        "key": (delivery.key, case.pseudonyms.get(proposal.ref or "", {}).get(flow["recipient"])),
        "id": (delivery.id, proposal.id),
        "flow": (delivery.flow, proposal.flow),
        "purpose": (delivery.purpose, flow["purpose"]),
        "policy": (delivery.policy, decided.policy),
        "type": (delivery.type, proposal.type),
    }
    yield from (name for name, (found, wanted) in expected.items() if found != wanted)
    try:
        got, sent = reading.decode(delivery.value), reading.decode(proposal.value)
    except Unreadable:
        yield "value"
        return
    for name, content in sent.fields.items():
        if got.fields.get(name) != (None if name in decided.withheld else content):
            yield f"field {name}"


def _no_other_delivery(case: Case, findings: Findings) -> None:
    known = {d.id for found in case.decisions.values() for d in found}
    for decision, found in case.deliveries.items():
        findings.check("I2d", decision in known, place(found[0]), "has no decision")


def _released(case: Case) -> Iterator[tuple[Exchange, Delivery]]:
    """Deliveries with the proposals that they came from."""
    for origin, found in case.decisions.items():
        for d in found:
            for delivery in case.deliveries.get(d.id, []) if origin in case.proposals else []:
                yield case.proposals[origin], delivery


def _nothing_after_acknowledgement(case: Case, findings: Findings, proposal: Exchange, delivery: Delivery) -> None:
    for under in _agreements_of(case, proposal, delivery):
        closed = case.acknowledged.get(under, [])
        if closed:
            relied = case.applied(proposal)
            _relied_on_older(findings, delivery, relied or 0, closed)
            _inside_closed(findings, delivery, closed)


def _agreements_of(case: Case, proposal: Exchange, delivery: Delivery) -> list[Under]:
    reading = case.policies.get(delivery.policy)
    if reading is None or delivery.flow not in reading.flows or proposal.ref is None:
        return []
    try:
        fields = reading.decode(delivery.value).fields
    except Unreadable:
        return []
    return [(proposal.ref, agreement) for agreement in sorted(reading.agreement_ids(delivery.flow, fields))]


def _relied_on_older(findings: Findings, delivery: Delivery, relied: int, closed: list[Closed]) -> None:
    """Against the first acknowledged withdrawal that the delivery's transaction had not applied."""
    later = next((c.withdrawal for c in closed if (c.withdrawal.consent_offset or 0) >= relied), None)
    if later is None or later.end is None or later.lso is None or delivery.marker is None:
        return
    where = f"{place(delivery)} relied on consent<{relied}, {_name(later)}"
    findings.check("I3c", delivery.marker < later.end, where, f"marker {delivery.marker}, end then {later.end}")
    findings.check("I3v", delivery.offset < later.lso, where, f"last stable offset then {later.lso}")


def _inside_closed(findings: Findings, delivery: Delivery, closed: list[Closed]) -> None:
    for c in closed:
        w = c.withdrawal
        if w.end is None or w.lso is None or delivery.marker is None:
            continue
        until = float("inf") if c.until is None else c.until
        outside = not (w.lso <= delivery.offset < until or w.end <= delivery.marker < until)
        seen = f"marker {delivery.marker}, last stable offset {w.lso}, end {w.end}, next give at {c.until}"
        findings.check("I3x", outside, place(delivery), _name(w), seen)


def _name(w: Withdrawal) -> str:
    return f"{w.action} {w.agreement} at consent/{w.partition}@{w.consent_offset} acknowledged {w.acknowledged_ms}"


def _order_is_kept(case: Case, findings: Findings) -> None:
    last: dict[tuple[str, str], tuple[int, Delivery]] = {}
    released = sorted(_released(case), key=lambda r: (r[1].recipient, r[1].partition, r[1].offset))
    for proposal, delivery in released:
        whose = delivery.recipient, delivery.key
        before, previous = last.get(whose, (-1, delivery))
        what = f"proposal {proposal.offset} after {before} ({place(previous)})"
        findings.check("I6", before <= proposal.offset, place(delivery), what)
        last[whose] = proposal.offset, delivery


def _fence_never_goes_back(case: Case, findings: Findings) -> None:
    for partition, found in case.fences.items():
        for a, b in pairwise(found):
            findings.check("F", a.applied <= b.applied, f"fence/{partition}@{b.offset}: {b.applied} after {a.applied}")
    last: dict[tuple[int, str], int] = {}
    for p in case.history.of(Position):
        for topic, offset in _stored(p):
            before = last.get((p.partition, topic), 0)
            findings.check("F", before <= offset, f"position on {topic}/{p.partition}: {offset} after {before}")
            last[p.partition, topic] = max(before, offset)


def _stored(position: Position) -> Iterator[tuple[str, int]]:
    if position.exchange is not None:
        yield "exchange", position.exchange
    if position.consent is not None:
        yield "consent", position.consent


def _acknowledged_by_the_fence(case: Case, findings: Findings) -> None:
    reached = {p: max((f.applied for f in found), default=0) for p, found in case.fences.items()}
    for (ref, agreement), closed in case.acknowledged.items():
        for c in closed:
            w = c.withdrawal
            if w.consent_offset is None:
                findings.check("F", False, _name(w), "without a consent offset")  # noqa: FBT003
                continue
            standing = case.consent[w.partition].standing(ref, w.consent_offset + 1)
            state = ((standing or {}).get("stances", {}).get(agreement) or {}).get("state")
            findings.check("F", state in ("withdrawn", "objected"), _name(w), "but there it stands", state)
            findings.check("F", reached.get(w.partition, 0) > w.consent_offset, _name(w), "and never fenced")


def _counts(case: Case) -> dict[str, int]:
    history, decided = case.history, [d for found in case.decisions.values() for d in found]
    verdicts = {v: sum(d.verdict == v for d in decided) for v in ("permit", "redact", "deny")}
    withdrawals = history.of(Withdrawal)
    return {
        "proposals": len(case.proposals),
        "replays": len(history.of(Exchange)) - len(case.proposals),
        **verdicts,
        "deliveries": len(history.of(Delivery)),
        "withdrawals": len(withdrawals),
        "acknowledged": sum(w.acknowledged_ms is not None for w in withdrawals),
        "transactions": len(history.of(Position)),
    }


def show(findings: Findings, shown_max: int | None) -> None:
    """Print the counts, the table of rules, and each violation."""
    print("  ".join(f"{name} {n:,}" for name, n in findings.counts.items()))
    print(f"\n{'rule':5} {'applied':>10} {'broken':>8}")
    for rule, says in RULES.items():
        print(f"{rule:5} {findings.applied[rule]:>10,} {len(findings.violations[rule]):>8,}  {says}")
    for rule, found in findings.violations.items():
        for text in found[:shown_max]:
            print(f"{rule}: {text}")
        if shown_max is not None and len(found) > shown_max:
            print(f"{rule}: … and {len(found) - shown_max} more (--all)")
    print("\nholds" if findings.hold else f"\nVIOLATED: {findings.broken()}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Judge a history alone.")
    parser.add_argument("history", type=Path)
    parser.add_argument("--all", action="store_true", help="print every violation")
    args = parser.parse_args(arguments)
    try:
        findings = judge(read(args.history))
    except (CannotTell, Incomplete, OSError) as exc:
        print(f"could not tell: {exc}", file=sys.stderr)
        return 2
    show(findings, None if args.all else SHOWN_MAX)
    return 0 if findings.hold else 1


if __name__ == "__main__":
    sys.exit(main())
