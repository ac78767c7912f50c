"""The withdrawal fence holds while workers are killed and paused (DESIGN §7). Judged from a recorded history alone.

`make faults ONLY=mixed SEED=<n>` is the same run with another seed.
"""

import pytest

from faults.history import read
from faults.judge import judge
from faults.run import broker_and_city, history_of, show
from faults.scenario import PLANS, run


@pytest.mark.broker
@pytest.mark.fault
@pytest.mark.timeout(600)
def test_nothing_is_delivered_after_an_acknowledged_withdrawal_whatever_happens_to_the_workers(made):
    plan = PLANS["mixed"]
    with broker_and_city(made) as ground:
        outcome = run(ground, plan, history_of(plan))
    show(plan, outcome)
    findings = judge(read(outcome.history))
    assert findings.broken() == {}, findings.violations
    assert outcome.drained
    assert outcome.unanswered == 0
    assert findings.counts["acknowledged"] >= plan.acknowledged
    assert outcome.faults["kill"] >= plan.kills
    assert outcome.faults["pause"] >= plan.pauses
    # Each rule had something to bite on: withdrawals that deliveries had relied on, replays, all three verdicts.
    assert min(findings.applied[rule] for rule in ("I1", "I2", "I2d", "I3c", "I3v", "I3x", "I6", "F")) > 1_000
    assert min(findings.counts[name] for name in ("permit", "redact", "deny", "replays")) > 100
