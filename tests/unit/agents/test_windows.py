"""Windowed joins and aggregates: what they come to depends on the events, and not on how they arrive."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passerelle.agents import logged, windowed
from passerelle.agents.declared import Declarations
from passerelle.agents.entry import packed_bytes
from passerelle.agents.lineage import RuleFault, derived, folded
from passerelle.testkit.bus import Bus

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def at(hours):
    return (NOON + timedelta(hours=hours)).isoformat()


def declared(catalogue, flows):
    return Declarations("test", catalogue=catalogue, flows=flows)


def closely(catalogue, flows, *, window=2, grace=1):
    """A household and an income that were told within two hours of each other."""
    app = declared(catalogue, flows)
    h, i = app.outbox("civil-registry.household-changed.v1"), app.outbox("tax.income-assessed.v1")
    made_of = (h.adults, h.dependants, i.reference_income_cents)

    @app.join(
        h,
        i,
        flow="meal-tariff.schools",
        fields={"tariff_band": derived(lambda a, d, c: "ABCDEFG"[(a + 2 * c + d) % 7], *made_of)},
        window=timedelta(hours=window),
        grace=timedelta(hours=grace),
    )
    def near(_h, _i):
        return True

    return app


def daily(catalogue, flows, *, grace=1, **options):
    """How many births were registered for one parent on one day, and where the last was."""
    app = declared(catalogue, flows)
    births = app.outbox("civil-registry.birth-registered.v1")

    @app.aggregate(
        births,
        flow="birth.schools",
        fields={
            "entry_year": folded(lambda n, _: n + 1, births.born_on, start=0),
            "postcode": folded(lambda _, code: code, births.postcode, start=""),
        },
        window=timedelta(days=1),
        grace=timedelta(hours=grace),
        **options,
    )
    def births_of_day(so_far):
        return so_far.entry_year < 50

    return app


def tell(bus, event):
    """(household, income or birth; person, hours from noon, number)."""
    side, who, hours, number = event
    household = {"changed_on": 1, "adults": number, "dependants": 0, "lone_parent": False}
    income = {"income_year": 2025, "reference_income_cents": number, "parts_hundredths": 100, "assessed_on": 1}
    birth = {"born_on": 1, "postcode": f"{75000 + number}", "multiple": False}
    values = [
        ("civil-registry.household-changed.v1", household),
        ("tax.income-assessed.v1", income),
        ("civil-registry.birth-registered.v1", birth),
    ]
    type_, value = values[side]
    bus.publish(bus.app.outbox(type_), who, at=at(hours), **value)


def started(app, seed=None):
    bus = Bus(app, seed=seed)
    bus.move_clock(at(100))  # everything happened before it is told, as in a backfill
    return bus


def said(bus):
    return sorted((p.who, p.time, tuple(p.value.values())) for p in bus.proposals())


def ended(bus):
    """Person and day → what was said last, and its time."""
    return {(p.who, p.time[:10]): (p.time, p.value) for p in bus.proposals()}


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 1), st.sampled_from(["anna", "ben"]), st.sampled_from([0, 1, 1.5, 2, 3]), st.integers(0, 3)
    ),
    max_size=12,
)


@settings(max_examples=30, deadline=None)
@given(events=EVENTS, data=st.data())
def test_any_order_and_any_restart_give_the_same_groups(catalogue, flows, events, data):
    """All that is told lies within window and grace, so nothing is late in any order."""
    app = closely(catalogue, flows)
    calm = started(app)
    for event in events:
        tell(calm, event)
    bus = started(app, seed=data.draw(st.integers(0, 1_000)))
    for event in data.draw(st.permutations(events)):
        tell(bus, event)
        if data.draw(st.booleans()):
            bus.run().restart()
    bus.restart()
    wanted = sorted(
        (who, max(h, i))
        for side, who, h, _ in events
        for other, whose, i, _ in events
        if (side, other) == (0, 1) and who == whose and abs(h - i) <= 2
    )
    assert [(who, (datetime.fromisoformat(time) - NOON) / timedelta(hours=1)) for who, time, _ in said(bus)] == wanted
    assert said(bus) == said(calm)
    assert bus.dead_letters() == []


@settings(max_examples=30, deadline=None)
@given(hours=st.lists(st.sampled_from([0, 3, 9, 11.5, 12, 12.5]), max_size=10), data=st.data())
def test_any_order_and_any_restart_end_in_the_same_aggregates(catalogue, flows, hours, data):
    app = daily(catalogue, flows)
    events = [(2, data.draw(st.sampled_from(["anna", "ben"])), h, n) for n, h in enumerate(hours)]
    # Of what happened at one instant the department's order counts: there is one event for each person and time.
    events = list({(who, h): (side, who, h, n) for side, who, h, n in events}.values())
    calm = started(app)
    for event in sorted(events, key=lambda e: e[2]):
        tell(calm, event)
    bus = started(app, seed=data.draw(st.integers(0, 1_000)))
    for event in data.draw(st.permutations(events)):
        tell(bus, event)
        if data.draw(st.booleans()):
            bus.run().restart()
    bus.restart()
    assert ended(bus) == ended(calm)
    latest = {(who, at(h)[:10]): datetime.fromisoformat(at(h)) for _, who, h, _ in sorted(events, key=lambda e: e[2])}
    assert {where: datetime.fromisoformat(time) for where, (time, _) in ended(bus).items()} == latest
    assert len(bus.proposals()) == len(events)
    assert bus.dead_letters() == []


def test_folding_the_log_again_gives_the_same_proposals_under_the_same_identity(catalogue, flows):
    app = closely(catalogue, flows)
    bus = started(app)
    for event in [(0, "anna", 0, 1), (1, "anna", 1, 2), (0, "anna", 2, 3), (1, "anna", 2.5, 1)]:
        tell(bus, event)
    first = [(r.headers, r.value) for at_, log in bus.topics.items() if at_[0] == "exchange" for r in log]
    again = started(app)
    again.topics = {at_: log for at_, log in bus.topics.items() if at_[0].startswith("agents.")}
    again.run()
    assert [(r.headers, r.value) for at_, log in again.topics.items() if at_[0] == "exchange" for r in log] == first
    assert [p.origin.n for p in bus.proposals()] == [0, 0, 0]


def test_a_join_of_a_late_event_is_a_dead_letter_and_one_within_grace_is_not(catalogue, flows):
    bus = started(closely(catalogue, flows))
    tell(bus, (0, "anna", 10, 1))
    tell(bus, (1, "anna", 7, 1))  # to the hour: window and grace
    tell(bus, (1, "anna", 6.9, 1))
    tell(bus, (0, "anna", 6, 1))
    tell(bus, (0, "ben", 0, 1))  # another person's time is another
    assert [(d.reason, d.rule) for d in bus.dead_letters()] == [("late", "test.near")] * 2
    assert said(bus) == []


def test_partners_of_what_is_not_yet_late_are_still_held(catalogue, flows):
    bus = started(closely(catalogue, flows))
    tell(bus, (0, "anna", 5, 1))
    tell(bus, (0, "anna", 10, 1))
    tell(bus, (1, "anna", 7, 1))
    assert [(who, time) for who, time, _ in said(bus)] == [("anna", "2026-01-05T19:00:00.000Z")]


def test_an_aggregate_s_late_event_is_a_dead_letter(catalogue, flows):
    bus = started(daily(catalogue, flows))
    tell(bus, (2, "anna", 11, 1))
    tell(bus, (2, "anna", 12.5, 2))  # the next day has begun, the grace has not passed
    tell(bus, (2, "anna", 3, 3))
    tell(bus, (2, "anna", 13, 4))
    tell(bus, (2, "anna", 4, 5))
    assert [d.reason for d in bus.dead_letters()] == ["late"]
    assert [(p.value["entry_year"], p.value["postcode"], p.time[:13]) for p in bus.proposals()] == [
        (1, "75001", "2026-01-05T23"),
        (1, "75002", "2026-01-06T00"),
        (2, "75001", "2026-01-05T23"),
        (2, "75004", "2026-01-06T01"),
    ]


class Watched(dict):
    """A state, and the most that was ever held of one subject."""

    most = 0

    def get(self, subject):
        return super().get(subject, [])

    def put(self, subject, held):
        self[subject] = held
        self.most = max(self.most, packed_bytes(held))


def records_of(bus, rule):
    return [r for at_, log in bus.topics.items() if at_[0] == rule.log for r in log]


def test_a_state_that_would_grow_too_large_stays_as_it_was(catalogue, flows, monkeypatch):
    monkeypatch.setattr(logged, "STATE_BYTES_MAX", 500)
    app = daily(catalogue, flows)
    bus = started(app)
    for n in range(20):
        tell(bus, (2, "anna", n / 10, n))
    tell(bus, (2, "ben", 0, 1))
    tell(bus, (2, "anna", 60, 1))  # the full window is over: the next has room
    letters = bus.dead_letters()
    assert {d.reason for d in letters} == {"state-too-large"}
    taken = [p.value["entry_year"] for p in bus.proposals() if p.who == "anna"]
    assert taken == [*range(1, 20 - len(letters) + 1), 1]
    rule, state = app.rules["test.births-of-day"], Watched()
    for record in records_of(bus, rule):
        with suppress(logged.StateTooLarge):
            rule.fold(state, record)
    assert 0 < state.most <= 500


def test_one_event_completes_no_more_groups_than_the_bound(catalogue, flows, monkeypatch):
    monkeypatch.setattr(windowed, "MATCHES_MAX", 3)
    bus = started(closely(catalogue, flows))
    for n in range(4):
        tell(bus, (0, "anna", n / 10, n))
    tell(bus, (1, "anna", 0, 1))
    assert [d.reason for d in bus.dead_letters()] == ["state-too-large"]


def test_what_is_over_and_comes_once_more_is_no_late_event(catalogue, flows):
    """A hop that repeats its batch tells nobody that something was late which was not."""
    app = closely(catalogue, flows)
    bus, rule, state = started(app), app.rules["test.near"], Watched()
    for event in [(0, "anna", 0, 1), (1, "anna", 10, 2)]:
        tell(bus, event)
    household, income = records_of(bus, rule)
    rule.fold(state, household)
    rule.fold(state, income)
    assert rule.fold(state, household) is None


def test_what_was_too_slow_counts_and_what_it_meets_is_told_without_a_try(catalogue, flows):
    """Folded from the log or when it is heard: what it said is not held, and nobody's function sees it again."""
    app = closely(catalogue, flows)
    bus, rule, state = started(app), app.rules["test.near"], Watched()
    for event in [(0, "anna", 0, 1), (1, "anna", 1, 2), (0, "anna", 1.5, 3), (1, "anna", 3, 4)]:
        tell(bus, event)
    slow, *others = records_of(bus, rule)
    rule.pass_over(state, slow)
    (held,) = next(iter(state.values()))
    assert (held.shape, held.body) == (logged.PASSED_OVER, b"")
    with pytest.raises(logged.TooSlow):
        rule.step(state, others[0])
    assert len(next(iter(state.values()))) == 2
    assert [len(rule.step(state, r)) for r in others[1:]] == [1, 1]
    assert rule.fold(state, slow) is None


def test_what_is_held_of_another_declaration_is_not_read_by_this_one(catalogue, flows):
    """A checkpoint may be older than the rule: the bytes of other fields would be read as these."""
    app = closely(catalogue, flows)
    bus, rule, state = started(app), app.rules["test.near"], Watched()
    tell(bus, (0, "anna", 0, 1))
    tell(bus, (1, "anna", 1, 2))
    household, income = records_of(bus, rule)
    rule.fold(state, household)
    for who, (held,) in list(state.items()):
        state[who] = [held._replace(shape=b"of-old--")]
    assert rule.step(state, income) == []
    assert [e.side for e in next(iter(state.values()))] == [1]


def test_what_is_over_is_forgotten(catalogue, flows):
    """A subject of whom something is told every hour for four days: no more is held than the window needs."""
    app = closely(catalogue, flows)
    bus, rule, state = started(app), app.rules["test.near"], Watched()
    for n in range(96):
        tell(bus, (n % 2, "anna", n, 1))
    for record in records_of(bus, rule):
        rule.fold(state, record)
    assert max(map(len, state.values())) <= 2 * 2 + 1 + 1


def test_what_is_no_window_fails_at_import(catalogue, flows):
    with pytest.raises(RuleFault, match="twice the window"):
        closely(catalogue, flows, window=24 * 12)
    with pytest.raises(RuleFault, match="must fit"):
        daily(catalogue, flows, grace=24 * 23)
    with pytest.raises(RuleFault, match="twice the window"):
        closely(catalogue, flows, window=0)
    app = declared(catalogue, flows)
    births = app.outbox("civil-registry.birth-registered.v1")
    count = folded(lambda n, _: n + 1, births.born_on, start=0)
    for words, rule, fields in (
        ("is folded", app.aggregate, {"entry_year": count, "postcode": births.postcode}),
        ("is made of", app.aggregate, {"entry_year": count, "postcode": folded(max, births.born_on, start=0)}),
        ("only an aggregate", app.route, {"entry_year": count, "postcode": births.postcode}),
    ):
        window = {"window": timedelta(days=1)} if rule == app.aggregate else {}
        with pytest.raises(RuleFault, match=words):
            rule(births, flow="birth.schools", fields=fields, **window)(lambda _: True)
    with pytest.raises(RuleFault, match="names the source fields"):
        folded(max, start=0)
