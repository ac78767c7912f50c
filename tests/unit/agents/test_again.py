"""A re-run of history: decided anew, once for each run, whatever happens to it on the way."""

from collections import Counter

import pytest

from lutece.agents import city as lutece
from passerelle.agents.again import Again, BadRun, chosen, topics_of
from passerelle.agents.lineage import derived
from passerelle.testkit.bus import Bus
from passerelle.testkit.memory import MemoryCity
from passerelle_consent.policy.decide import Verdict
from passerelle_consent.records.transitions import Action
from unit.testkit.test_scenarios import BUNDLE

MOVES, HOUSEHOLDS, INCOMES = (
    "civil-registry.address-changed.v1",
    "civil-registry.household-changed.v1",
    "tax.income-assessed.v1",
)


@pytest.fixture
def city():
    return MemoryCity(lutece, BUNDLE)


def told(outcomes, flow):
    return [o.verdict for o in outcomes if o.flow == flow]


def test_what_was_given_since_then_is_delivered_now_and_what_was_withdrawn_is_denied_now(city):
    for who in ("anna", "zoe"):
        city.citizen(who)
    city.say("zoe", "move-schools", Action.GIVE)
    for who in ("anna", "zoe"):
        city.publish(MOVES, who)
    assert told(city.outcomes(), "move.schools") == [Verdict.DENY, Verdict.PERMIT]
    city.say("anna", "move-schools", Action.GIVE)
    city.say("zoe", "move-schools", Action.WITHDRAW)
    city.bus.rerun("autumn", rules=["lutece.move-schools"])
    again = {o.who: o.verdict for o in city.outcomes()}
    assert again == {"anna": Verdict.PERMIT, "zoe": Verdict.DENY}


def test_the_same_run_again_is_decided_once_and_another_run_once_more(city):
    city.citizen("anna")
    city.publish(MOVES, "anna")
    city.outcomes()
    decided = []
    for run in ("a", "a", "b", "a"):
        city.bus.rerun(run)
        decided.append(len(city.outcomes()))
    assert decided == [3, 0, 3, 0]


@pytest.mark.parametrize("seed", range(8))
def test_a_run_that_is_begun_anew_half_way_decides_each_event_once(seed):
    bus = Bus(lutece, seed=seed)
    for n in range(20):
        bus.publish(lutece.outbox(MOVES), f"p{n % 5}", **example(lutece, MOVES))
        bus.publish(lutece.outbox(HOUSEHOLDS), f"p{n % 5}", **example(lutece, HOUSEHOLDS))
        bus.publish(lutece.outbox(INCOMES), f"p{n % 5}", **example(lutece, INCOMES))
    before = sources(bus)
    for _ in range(3):
        bus.rerun("r")
    again = {(rule.removesuffix("~r"), *at): n for (rule, *at), n in sources(bus).items() if rule.endswith("~r")}
    assert again == before
    assert set(before.values()) == {1}


def sources(bus):
    return Counter((p.origin.rule, p.origin.topic, p.origin.partition, p.origin.offset) for p in bus.proposals())


def example(app, event):
    contract = app.outbox(event).contract
    return contract.decode(contract.encode(contract.example))


def test_only_what_was_published_in_that_time(city):
    city.citizen("anna")
    for day in (3, 5, 9):
        city.publish(MOVES, "anna", at=f"2027-01-0{day}T10:00:00Z")
    tally = city.bus.rerun("r", since="2027-01-05T00:00:00Z", until="2027-01-09T00:00:00Z", rules=["lutece.move-tax"])
    assert tally.proposed == {("lutece.move-tax", "move.tax"): 1}
    assert tally.looked == {"lutece.move-tax": 1}


def test_a_join_is_run_again_with_what_it_knew_then(app):
    households, incomes = app.outbox(HOUSEHOLDS), app.outbox(INCOMES)
    fields = {
        "tariff_band": derived(
            lambda adults, _dependants, _income: "ABCDEFG"[adults],
            households.adults,
            households.dependants,
            incomes.reference_income_cents,
        )
    }

    @app.join(households, incomes, flow="meal-tariff.schools", fields=fields)
    def tariff(_household, _income):
        return True

    bus, of_income = Bus(app), example(app, INCOMES)
    for day, adults in ((1, 1), (3, 2), (5, 3)):
        value = {**example(app, HOUSEHOLDS), "adults": adults}
        bus.publish(households, "anna", at=f"2026-01-0{day}T10:00:00Z", **value)
        if day == 1:
            bus.publish(incomes, "anna", at="2026-01-02T10:00:00Z", **of_income)
    bus.rerun("r", since="2026-01-03T00:00:00Z", until="2026-01-04T00:00:00Z")
    letters = [(p.origin.rule, p.value["tariff_band"]) for p in bus.proposals()]
    assert letters == [("test.tariff", "B"), ("test.tariff", "C"), ("test.tariff", "D"), ("test.tariff~r", "C")]


def test_what_no_rule_can_read_is_counted_and_told_no_second_time():
    bus = Bus(lutece)
    bus.append(lutece.outbox(MOVES).topic, bytes(16), b"garbage")
    before = bus.dead_letters()
    assert bus.rerun("r", rules=["lutece.move-tax"]).refused == {"lutece.move-tax": 1}
    assert bus.dead_letters() == before


def test_a_run_and_what_it_asks_for_are_checked():
    for bad in ("", "-a", "A", "a;b", "a" * 41):
        with pytest.raises(BadRun, match="1 to 40"):
            Again(run=bad, ranges={})
    with pytest.raises(BadRun, match="no rule"):
        chosen(lutece, rules=["lutece.nothing"])
    with pytest.raises(BadRun, match="no outbox"):
        chosen(lutece, outboxes=["roads"])
    rules = chosen(lutece, outboxes=[INCOMES])
    assert [r.name for r in rules] == ["lutece.meal-tariff"]
    assert topics_of(rules, [INCOMES]) == ["outbox.tax.income-assessed"]
