"""The attacks find agents, and a policy, that do not withstand them; those of the demonstration city do."""

from datetime import timedelta
from itertools import count

import pytest

from lutece.agents import city as agents
from passerelle.agents.declared import Declarations
from passerelle.agents.lineage import derived, folded
from passerelle.testkit import bus
from passerelle.testkit.adversary import Adversary, Attack
from passerelle_consent.policy.decide import CompiledAgreement, Reason
from unit.testkit.test_scenarios import BUNDLE

HOUSEHOLD, INCOME, MOVED = (
    "civil-registry.household-changed.v1",
    "tax.income-assessed.v1",
    "civil-registry.address-changed.v1",
)
BORN = "civil-registry.birth-registered.v1"
DAY_MS = 86_400_000


def rogue(band, town=None):
    """A join whose author computes the band as ``band`` says, and a route that makes the town of a move."""
    app = Declarations("rogue", catalogue=BUNDLE.catalogue, flows=BUNDLE.flows)
    households, incomes, moves = app.outbox(HOUSEHOLD), app.outbox(INCOME), app.outbox(MOVED)

    @app.join(
        households,
        incomes,
        flow="meal-tariff.schools",
        fields={"tariff_band": derived(band, households.adults, households.dependants, incomes.reference_income_cents)},
    )
    def tariff(_household, _income):
        return True

    @app.route(
        moves,
        flow="move.schools",
        fields={
            "moved_on": moves.moved_on,
            "street": moves.new_street,
            "postcode": moves.new_postcode,
            "city": derived(town or (lambda city: city), moves.new_city),
        },
    )
    def move(_move):
        return True

    return app


def windowed():
    """A join of what happened within a week, and how many births there were in one."""
    app = Declarations("windowed", catalogue=BUNDLE.catalogue, flows=BUNDLE.flows)
    households, incomes, births = app.outbox(HOUSEHOLD), app.outbox(INCOME), app.outbox(BORN)
    week = timedelta(days=7)
    sources = (households.adults, households.dependants, incomes.reference_income_cents)
    band = {"tariff_band": derived(band_of, *sources)}
    app.join(households, incomes, flow="meal-tariff.schools", fields=band, window=week)(near)
    counted = {
        "entry_year": folded(lambda n, _: n + 1, births.born_on, start=0),
        "postcode": folded(lambda _, code: code, births.postcode, start=""),
    }
    app.aggregate(births, flow="birth.schools", fields=counted, window=week)(of_week)
    return app


def near(_household, _income):
    return True


def of_week(_so_far):
    return True


def found(app, attack, seeds=4):
    adversary = Adversary(app, BUNDLE)
    return [broken.what for seed in range(seeds) for broken in adversary.attack(attack, seed)]


def band_of(adults, dependants, cents):
    return "ABCDEFG"[(adults + dependants + cents) % 7]


@pytest.mark.parametrize("attack", Attack)
def test_the_agents_of_the_demonstration_city_withstand(attack):
    assert found(agents, attack, seeds=2) == []


@pytest.mark.parametrize("attack", Attack)
def test_honest_agents_withstand(attack):
    assert found(rogue(band_of), attack) == []
    assert found(windowed(), attack) == []


def test_a_window_that_takes_what_happened_an_age_before_is_found(monkeypatch):
    app = windowed()
    assert found(app, Attack.LATE) == []
    monkeypatch.setattr(app.rules["windowed.near"], "_late_ms", 500 * DAY_MS)
    monkeypatch.setattr(app.rules["windowed.near"], "_keep_ms", 500 * DAY_MS)
    monkeypatch.setattr(app.rules["windowed.near"], "_window_ms", 500 * DAY_MS)
    assert found(app, Attack.LATE) != []


@pytest.mark.parametrize("attack", [Attack.REPLAY, Attack.DUPLICATES, Attack.LATE])
def test_a_rule_that_counts_is_found(attack):
    """What a rule makes must follow from what it is given, not from how often it was asked."""
    asked = count()
    assert found(rogue(lambda *_: "ABCDEFG"[next(asked) % 7]), attack) != []


def test_a_rule_that_carries_a_field_over_to_another_flow_is_found():
    heard = {}

    def spying(adults, *others):
        heard["adults"] = adults
        return band_of(adults, *others)

    leaks = found(rogue(spying, lambda city: f"{city} {heard.get('adults')}"), Attack.LINEAGE, seeds=1)
    assert f"move.schools tells of {HOUSEHOLD}#adults, which is no source of its event" in leaks


def test_records_that_are_passed_over_in_silence_are_found(monkeypatch):
    whole = bus.applied

    def silent(component, rule, outcomes, *, reports):
        return whole(component, rule, outcomes, reports=reports and not outcomes)

    monkeypatch.setattr(bus, "applied", silent)
    assert any("dead letters" in what for what in found(rogue(band_of), Attack.POISON))


def test_a_policy_that_does_not_hear_a_withdrawal_is_found(monkeypatch):
    monkeypatch.setattr(CompiledAgreement, "_consent", lambda *_: Reason.VALID_BASIS)
    assert found(rogue(band_of), Attack.WITHDRAWAL) != []
