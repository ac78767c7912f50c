"""Break one rule of the fence on purpose, and the judge finds it in the history. A judge that finds nothing is none."""

import pytest

from faults.history import read
from faults.judge import judge
from faults.run import broker_and_city, history_of, show
from faults.scenario import PLANS, run

EXPECTED = {
    # Rule 1, every transaction commits the offsets of both topics, and so what the fence tells:
    "offsets-apart": {"I1"},  # proposals are lost between the two transactions
    "fence-apart": {"I3c", "I3v", "I3x"},  # acknowledged while older decisions wait for their commit
    # Rule 2, consent is applied between transactions only:
    "late-consent": {"I2"},  # released under a standing that the transaction says it had left behind
}


@pytest.mark.broker
@pytest.mark.fault
@pytest.mark.parametrize("rule", EXPECTED)
def test_a_broken_rule_is_found(rule, made):
    plan = PLANS[rule]
    with broker_and_city(made) as ground:
        outcome = run(ground, plan, history_of(plan))
    show(plan, outcome)
    found = judge(read(outcome.history)).broken()
    print(f"{rule}: violations found: {found}")
    assert EXPECTED[rule] <= found.keys()
