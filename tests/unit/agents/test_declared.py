from asyncio import CancelledError

import pytest

from passerelle.agents import NoRecipient
from passerelle.agents.lineage import RuleFault, View, derived
from passerelle.testkit.bus import Bus
from passerelle_schemas.catalogue import UnknownContract


@pytest.fixture
def moves(app):
    return app.outbox("civil-registry.address-changed.v1")


@pytest.fixture
def births(app):
    return app.outbox("civil-registry.birth-registered.v1")


def school_fields(moves, **changed):
    return {
        "moved_on": moves.moved_on,
        "street": moves.new_street,
        "postcode": moves.new_postcode,
        "city": moves.new_city,
        **changed,
    }


def always(_event):
    return True


def test_lineage_and_plan_say_what_was_declared(app, births):
    app.route(
        births,
        flow="birth.schools",
        fields={"entry_year": derived(lambda d: d.year + 3, births.born_on), "postcode": births.postcode},
    )(always)
    assert app.rules["test.always"].lineage == {
        "entry_year": ("civil-registry.birth-registered.v1#born_on",),
        "postcode": ("civil-registry.birth-registered.v1#postcode",),
    }
    plan = app.plan()
    assert (plan.app_id, plan.outboxes, plan.join_logs, plan.dead_letter) == (
        "agents.test",
        ("outbox.civil-registry.birth-registered",),
        (),
        "deadletter.agents.test",
    )


def test_a_join_s_log_outlives_what_is_held(app):
    h, i = app.outbox("civil-registry.household-changed.v1"), app.outbox("tax.income-assessed.v1")

    @app.join(
        h,
        i,
        flow="meal-tariff.schools",
        fields={"tariff_band": derived(lambda *_: "A", h.adults, h.dependants, i.reference_income_cents)},
    )
    def meal_tariff(_h, _i):
        return True

    plan = app.plan()
    assert plan.join_logs == ("agents.test.meal-tariff.log",)
    assert plan.retention_ms["agents.test.meal-tariff.log"] > app.rules["test.meal-tariff"].hold_ms
    assert plan.outboxes == (h.topic, i.topic)


def wrong(app, moves, births):
    """Declarations that must not import."""
    fields = school_fields(moves)
    yield "no flow", lambda: app.route(moves, flow="move.nowhere", fields=fields)(always)
    yield "goes to one flow", lambda: app.route(moves)(always)
    yield "goes to one flow", lambda: app.route(moves, flow="move.tax", to=["move.tax"])(always)
    yield "say how each field is made", lambda: app.route(moves, flow="move.schools")(always)
    yield "is not made", lambda: app.route(moves, flow="move.schools", fields={"street": moves.new_street})(always)
    yield (
        "has no field",
        lambda: app.route(moves, flow="move.schools", fields={**fields, "phone": moves.new_city})(always),
    )
    yield "has no field", lambda: moves.phone
    yield (
        "not an input",
        lambda: app.route(moves, flow="move.schools", fields={**fields, "city": births.postcode})(always),
    )
    yield (
        "is made of",
        lambda: app.route(moves, flow="move.schools", fields={**fields, "city": moves.previous_city})(always),
    )
    yield (
        "is made of",
        lambda: app.route(
            moves, flow="move.schools", fields={**fields, "city": derived(str, moves.new_city, moves.household_size)}
        )(always),
    )
    yield (
        "is outbox.field or derived",
        lambda: app.route(moves, flow="move.schools", fields={**fields, "city": "Lutèce"})(always),
    )
    yield "names the source fields", lambda: derived(str)
    yield (
        "no source of",
        lambda: app.route(moves, flow="move.schools", fields=fields, reads=[moves.household_size])(always),
    )
    yield "not an input", lambda: app.route(moves, flow="move.schools", fields=fields, reads=[births.postcode])(always)
    yield "event types", lambda: app.route(moves, to=["move.schools", "move.tax"], fields=fields)(always)
    yield "derived: no department publishes it", lambda: app.outbox("schools.pupil-moved.v1")
    yield (
        "takes no fields",
        lambda: app.route(
            app.outbox("social-action.frail-registered.v1"),
            flow="heat-plan.emergency-desk",
            fields={},
        )(always),
    )
    yield "two or more", lambda: app.join(moves, flow="move.schools", fields=fields)(always)


def test_what_is_not_carried_by_contracts_and_flows_fails_at_import(app, moves, births):
    for words, declare in wrong(app, moves, births):
        with pytest.raises(RuleFault, match=words):
            declare()
    assert app.rules == {}


def test_an_unknown_event_type_fails_at_import(app):
    with pytest.raises(UnknownContract):
        app.outbox("tax.nothing.v1")


def test_a_rule_s_name_is_used_once(app, moves):
    app.route(moves, flow="move.schools", fields=school_fields(moves))(always)
    with pytest.raises(RuleFault, match="declared twice"):
        app.route(moves, flow="move.schools", fields=school_fields(moves))(always)


REPORT_FLOWS = ["street-report.roads", "street-report.parks"]


@pytest.mark.parametrize(
    ("answer", "reason", "error"),
    [
        ("street-report.police", "rule-error", "WrongAnswer"),
        (True, "rule-error", "WrongAnswer"),
        (1, "rule-error", "WrongAnswer"),
        (NoRecipient(), "no-recipient", None),
        (KeyError("Canary"), "rule-error", "KeyError"),
        (SystemExit(0), "rule-error", "SystemExit"),
        (CancelledError(), "rule-error", "CancelledError"),
        ("undeclared", "rule-error", "UndeclaredField"),
    ],
)
def test_a_wrong_answer_is_that_event_s_dead_letter(app, answer, reason, error):
    reports = app.outbox("citizen-desk.report-filed.v1")

    @app.route(reports, to=REPORT_FLOWS, reads=[reports.operator])
    def sort(report):
        if report.operator != "DVD":
            return "street-report.parks"
        if isinstance(answer, BaseException):
            raise answer
        return report.address if answer == "undeclared" else answer

    bus = Bus(app)
    example = {**reports.contract.example, "filed_on": 1}
    bus.publish(reports, "anna", **{**example, "operator": "DVD"})
    bus.publish(reports, "anna", **{**example, "operator": "DEVE"})
    (letter,) = bus.dead_letters()
    assert (letter.reason, letter.error, letter.rule) == (reason, error, "test.sort")
    assert [p.flow for p in bus.proposals()] == ["street-report.parks"]


@pytest.mark.parametrize("nothing", [None, False])
def test_none_and_false_mean_nothing(app, moves, nothing):
    @app.route(moves, flow="move.schools", fields=school_fields(moves))
    def choose(_move):
        return nothing

    bus = Bus(app)
    bus.publish(moves, "anna", **{**moves.contract.example, "moved_on": 1})
    assert (bus.proposals(), bus.dead_letters()) == ([], [])


def test_a_function_that_makes_the_wrong_type_is_that_event_s_dead_letter(app, births):
    app.route(
        births, flow="birth.schools", fields={"entry_year": derived(str, births.born_on), "postcode": births.postcode}
    )(always)
    bus = Bus(app)
    bus.publish(births, "zoe", born_on=1, postcode="99001", multiple=False)
    assert [(d.reason, d.error) for d in bus.dead_letters()] == [("rule-error", "Undecodable")]


def test_a_view_tells_nothing_when_it_is_printed():
    assert "anna" not in repr(View({"name": "anna"}, frozenset({"name"})))
