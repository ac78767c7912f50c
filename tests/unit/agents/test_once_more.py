"""A record of a rule's log is run once more: with the state of then, the rule of now, and nobody is taken back."""

from passerelle.agents.lineage import derived
from passerelle.agents.once_more import once_more
from passerelle_consent.wire import DeadLetter
from passerelle_schemas.topics import EXCHANGE
from unit.agents.test_windows import closely, daily, declared, records_of, started, tell


def asked(app, name, events, nth):
    """What comes of the n-th of these: a proposal's value, or why there is none."""
    bus, rule = started(app), app.rules[name]
    for event in events:
        tell(bus, event)
    records = records_of(bus, rule)
    of_subject = [r for r in records if r.key == records[nth].key]
    outs = once_more(app.id, rule, of_subject, records[nth].offset)
    return outs and [value(app, out) for out in outs]


def value(app, out):
    return app.catalogue.decode(out.value)[1] if out.topic == EXCHANGE else DeadLetter.decode(out.value).reason


def newest(catalogue, flows):
    app = declared(catalogue, flows)
    h, i = app.outbox("civil-registry.household-changed.v1"), app.outbox("tax.income-assessed.v1")

    def band(adults, _dependants, cents):
        return "ABCDEFG"[adults + cents]

    fields = {"tariff_band": derived(band, h.adults, h.dependants, i.reference_income_cents)}

    @app.join(h, i, flow="meal-tariff.schools", fields=fields)
    def tariff(_h, _i):
        return True

    return app


def test_a_join_says_it_with_the_state_of_then_unless_it_was_said_since(catalogue, flows):
    app, both = newest(catalogue, flows), [(0, "anna", 0, 1), (1, "anna", 1, 2)]
    assert asked(app, "test.tariff", both, 1) == [{"tariff_band": "D"}]
    assert asked(app, "test.tariff", [*both, (0, "ben", 2, 3)], 1) == [{"tariff_band": "D"}]
    assert asked(app, "test.tariff", [*both, (0, "anna", 2, 3)], 1) is None
    backfill = (0, "anna", -1, 3)  # what changes nothing says nothing
    assert asked(app, "test.tariff", [*both, backfill], 1) == [{"tariff_band": "D"}]


def test_each_group_of_a_windowed_join_stands_by_itself(catalogue, flows):
    app = closely(catalogue, flows)
    events = [(0, "anna", 0, 1), (0, "anna", 1, 2), (1, "anna", 1.5, 0), (0, "anna", 2, 3)]
    assert asked(app, "test.near", events, 2) == [{"tariff_band": "B"}, {"tariff_band": "C"}]
    assert asked(app, "test.near", events, 3) == [{"tariff_band": "D"}]


def test_of_an_aggregate_s_window_the_last_is_said(catalogue, flows):
    app = daily(catalogue, flows)
    events = [(2, "anna", 0, 1), (2, "anna", 1, 2), (2, "anna", 20, 3)]
    assert asked(app, "test.births-of-day", events, 0) is None
    assert asked(app, "test.births-of-day", events, 1) == [{"entry_year": 2, "postcode": "75002"}]


def test_what_is_still_refused_comes_back(catalogue, flows):
    app = closely(catalogue, flows)
    assert asked(app, "test.near", [(0, "anna", 9, 1), (1, "anna", 0, 1), (0, "anna", 10, 1)], 1) == ["late"]
    far = newest(catalogue, flows)
    assert asked(far, "test.tariff", [(0, "anna", 0, 9), (1, "anna", 1, 9), (0, "anna", 2, 1)], 1) == ["rule-error"]
