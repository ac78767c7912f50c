"""What if the policy were another: counts that add up, and no difference where there is none."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from passerelle_consent.policy.decide import Decision, Reason, Verdict, compile_table
from passerelle_consent.policy.replay import EXAMPLES_MAX, Lost, Recorded, Replay, Transition
from passerelle_consent.policy.standing import UNKNOWN_SUBJECT, State
from unit.policy.city import CATALOGUE, NOW_MS, agreement, flow, stance, standing

HOME = agreement("home", "6-1-a", {"registry.moved.v1": ["street", "phone"]})
INCOME = agreement("income", "6-1-e", {"tax.assessed.v1": ["income"]}, source="tax")
TARIFF = flow("tariff", "schools.tariff.v1", ["home@1", "income@1"], ["band"], ["hint"])
MOVES = flow("moves", "registry.moved.v1", ["home@1"], ["street"], ["phone"])
OLD, NEW = b"o" * 32, b"n" * 32
BY_LAW = agreement("home", "6-1-e", {"registry.moved.v1": ["street", "phone"]})


def table(agreements, flows, digest=OLD):
    return compile_table(agreements, flows, CATALOGUE, digest=digest)


IN_FORCE = table([HOME, INCOME], [TARIFF, MOVES])
GIVEN, WITHDRAWN = standing(stance("home", "given")), standing(stance("home", "withdrawn"))


def replaying(changed=IN_FORCE):
    return Replay(changed, {OLD: IN_FORCE}.get)


def recorded(decision, flow_id="tariff", **changes):
    fields = {"id": b"d" * 16, "at_ms": NOW_MS, "flow": flow_id, "policy": OLD, "decision": decision}
    return Recorded(**{**fields, **changes})


def decided(flow_id, whose, at_ms=NOW_MS):
    return recorded(IN_FORCE.decide(flow_id, whose, at_ms), flow_id, at_ms=at_ms)


states = st.sampled_from(list(State))
standings = st.one_of(
    st.just(UNKNOWN_SUBJECT),
    st.builds(
        lambda home, income, restricted: standing(
            stance("home", home), stance("income", income), restricted_since_ms=restricted
        ),
        states,
        states,
        st.one_of(st.none(), st.just(NOW_MS - 500)),
    ),
)
cases = st.lists(
    st.tuples(st.sampled_from(["tariff", "moves"]), standings, standings, st.integers(NOW_MS - 10**11, NOW_MS)),
    max_size=20,
)


@given(cases)
def test_the_same_policy_makes_no_difference(found):
    replay = replaying()
    for flow_id, whose, before_that, at_ms in found:
        replay.take(decided(flow_id, whose, at_ms), [before_that, whose])
    report = replay.report()
    assert (report.unchanged, report.changed, report.not_reproduced) == (len(found), {}, {})
    assert report.reproduced == report.decided_again == report.decisions


@given(cases, st.integers(0, 3))
def test_every_decision_is_in_exactly_one_count(found, lost):
    replay = replaying(table([BY_LAW, INCOME], [TARIFF], NEW))
    for flow_id, whose, other, at_ms in found:
        replay.take(decided(flow_id, whose, at_ms), [other])
    for _ in range(lost):
        replay.lose(decided("tariff", GIVEN), Lost.ERASED)
    report = replay.report()
    counted = report.unchanged + sum(c.count for c in (*report.changed.values(), *report.not_reproduced.values()))
    assert counted + lost == report.decisions == len(found) + lost


def test_what_would_be_different_is_told_by_flow_and_reason():
    replay = replaying(table([BY_LAW, INCOME], [TARIFF, MOVES], NEW))
    for number in range(5):
        replay.take(replace(decided("tariff", WITHDRAWN), id=bytes([number]) * 16), [WITHDRAWN])
    replay.take(decided("tariff", GIVEN), [GIVEN])
    report = replay.report()
    ((transition, found),) = report.changed.items()
    denied = Decision(verdict=Verdict.DENY, reason=Reason.CONSENT_WITHDRAWN)
    assert transition == Transition("tariff", denied, Decision(verdict=Verdict.PERMIT, reason=Reason.VALID_BASIS))
    assert (found.count, found.examples) == (5, [bytes([n]) * 16 for n in range(EXAMPLES_MAX)])
    assert report.unchanged == 1


def test_fewer_fields_are_a_difference_though_the_verdict_is_the_same():
    split = [
        agreement("home", "6-1-e", {"registry.moved.v1": ["street"]}),
        agreement("phone", "6-1-a", {"registry.moved.v1": ["phone"]}),
    ]
    moves = flow("moves", "registry.moved.v1", ["home@1", "phone@1"], ["street"], ["phone"])
    replay = replaying(table(split, [moves], NEW))
    replay.take(decided("moves", GIVEN), [GIVEN])
    ((transition, _),) = replay.report().changed.items()
    assert (transition.after.verdict, transition.after.withheld) == (Verdict.REDACT, ("phone",))


def test_flows_that_went_and_flows_that_came_are_named():
    other = flow("other", "registry.moved.v1", ["home@1"], ["street"], ["phone"])
    replay = replaying(table([HOME, INCOME], [TARIFF, other], NEW))
    replay.take(decided("moves", GIVEN), [GIVEN])
    report = replay.report()
    assert (report.flows_gone, report.flows_new) == (("moves",), ("other",))
    ((transition, _),) = report.changed.items()
    assert transition.after.reason is Reason.UNKNOWN_FLOW


def test_of_two_standings_that_may_have_stood_the_one_that_explains_the_record_is_taken():
    replay = replaying()
    replay.take(decided("tariff", GIVEN), [WITHDRAWN, GIVEN])
    assert replay.report().reproduced == 1


def test_what_does_not_come_out_as_recorded_is_no_effect_of_the_change():
    replay = replaying(table([BY_LAW, INCOME], [TARIFF, MOVES], NEW))
    replay.take(decided("tariff", GIVEN), [WITHDRAWN])
    report = replay.report()
    assert (report.reproduced, report.decided_again, report.changed) == (0, 1, {})
    ((transition, _),) = report.not_reproduced.items()
    assert (transition.before.verdict, transition.after.verdict) == (Verdict.PERMIT, Verdict.DENY)


def test_what_cannot_be_known_is_counted_with_its_reason():
    replay = replaying()
    unreadable = Decision(verdict=Verdict.DENY, reason=Reason.UNREADABLE)
    unknown_flow = Decision(verdict=Verdict.DENY, reason=Reason.UNKNOWN_FLOW)
    replay.take(recorded(unreadable, None), [GIVEN])
    replay.lose(recorded(unreadable), Lost.ERASED)
    replay.take(recorded(unknown_flow, None), [GIVEN])
    replay.take(replace(decided("tariff", GIVEN), policy=NEW), [GIVEN])
    replay.take(decided("tariff", GIVEN), [])
    replay.lose(decided("tariff", GIVEN), Lost.ERASED)
    assert replay.report().lost == {
        Lost.NOT_OF_THE_POLICY: 2,
        Lost.FLOW_NOT_NAMED: 1,
        Lost.POLICY_NOT_KEPT: 1,
        Lost.STANDING_NOT_KEPT: 1,
        Lost.ERASED: 1,
    }
