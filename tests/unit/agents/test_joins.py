import pytest

from passerelle.agents.entry import decode
from passerelle.agents.lineage import derived
from passerelle.testkit.bus import BATCH_RECORDS_MAX, Bus

DAY = "2026-01-{:02}T10:00:00Z"


@pytest.fixture
def joined(app):
    """The newest household and the newest income of each person → a letter that names both."""
    households = app.outbox("civil-registry.household-changed.v1")
    incomes = app.outbox("tax.income-assessed.v1")

    @app.join(
        households,
        incomes,
        flow="meal-tariff.schools",
        reads=[households.adults],
        fields={
            "tariff_band": derived(
                lambda adults, dependants, income: "ABCDEFG"[(adults + dependants + income) % 7],
                households.adults,
                households.dependants,
                incomes.reference_income_cents,
            )
        },
    )
    def tariff(household, _income):
        if household.adults == 13:
            raise ValueError("a message that may name anna")
        return household.adults != 12

    return app, households, incomes


def household(bus, box, who, adults, at=None):
    return bus.publish(box, who, at=at, changed_on=1, adults=adults, dependants=0, lone_parent=False)


def income(bus, box, who, cents, at=None):
    return bus.publish(
        box, who, at=at, income_year=2025, reference_income_cents=cents, parts_hundredths=100, assessed_on=1
    )


def letters(bus):
    return [p.value["tariff_band"] for p in bus.proposals()]


def test_either_side_triggers_and_each_proposal_carries_its_trigger(joined):
    app, households, incomes = joined
    bus = Bus(app)
    first = household(bus, households, "anna", 1, at=DAY.format(1))
    second = income(bus, incomes, "anna", 1, at=DAY.format(2))
    third = household(bus, households, "anna", 2, at=DAY.format(3))
    origins = [(p.origin.topic, p.origin.partition, p.origin.offset, p.time) for p in bus.proposals()]
    assert letters(bus) == ["C", "D"]
    assert origins == [
        (second.topic, second.partition, second.offset, "2026-01-02T10:00:00.000Z"),
        (third.topic, third.partition, third.offset, "2026-01-03T10:00:00.000Z"),
    ]
    assert first.topic != second.topic


def test_another_person_s_income_joins_nothing(joined):
    app, households, incomes = joined
    bus = Bus(app)
    household(bus, households, "anna", 1)
    income(bus, incomes, "ben", 1)
    assert bus.proposals() == []


def test_a_backfill_of_an_older_event_changes_nothing(joined):
    app, households, incomes = joined
    bus = Bus(app)
    household(bus, households, "anna", 1, at=DAY.format(9))
    household(bus, households, "anna", 5, at=DAY.format(1))
    income(bus, incomes, "anna", 1, at=DAY.format(10))
    assert letters(bus) == ["C"]


def test_a_clock_far_ahead_does_not_win_for_ever(joined):
    app, households, incomes = joined
    bus = Bus(app)
    bus.publish(incomes, "anna", income_year=1, reference_income_cents=1, parts_hundredths=100, assessed_on=1)
    ahead = household(bus, households, "anna", 5)
    # The same event, said to be of the year 2100, recorded before the true one.
    log = bus.topics[ahead.topic, ahead.partition]
    headers = [(k, b"2100-01-01T00:00:00Z" if k == "ce_time" else v) for k, v in ahead.headers]
    log.clear()
    bus.append(ahead.topic, ahead.key, ahead.value, headers)
    household(bus, households, "anna", 1)
    assert letters(bus) == ["G", "C"]


def test_what_is_held_too_long_is_not_joined(joined):
    app, households, incomes = joined
    bus = Bus(app)
    household(bus, households, "anna", 1, at="2026-01-01T00:00:00Z")
    bus.run()
    income(bus, incomes, "anna", 1, at="2027-02-06T00:00:00Z")
    assert bus.proposals() == []


def test_a_rule_that_raises_loses_that_one_event_only_and_tells_no_message(joined):
    app, households, incomes = joined
    bus = Bus(app)
    income(bus, incomes, "anna", 1)
    household(bus, households, "anna", 13)
    household(bus, households, "anna", 12)
    household(bus, households, "anna", 2)
    assert letters(bus) == ["D"]
    (letter,) = bus.dead_letters()
    assert (letter.reason, letter.error, letter.rule) == ("rule-error", "ValueError", "test.tariff")
    assert b"anna" not in letter.encode()


def test_garbage_on_the_join_s_log_is_a_dead_letter(joined):
    app, households, incomes = joined
    bus = Bus(app)
    income(bus, incomes, "anna", 1)
    bus.append("agents.test.tariff.log", b"k" * 16, b"\x01garbage")
    household(bus, households, "anna", 2)
    assert letters(bus) == ["D"]
    assert [d.reason for d in bus.dead_letters()] == ["bad-entry"]


@pytest.mark.parametrize("seed", range(50))
def test_any_interleaving_with_failures_and_restarts_gives_what_a_calm_run_gives(joined, seed):
    """One log, folded by workers that fail and die, gives the same proposals: none lost, none doubled."""
    app, households, incomes = joined
    bus = Bus(app, seed=seed)
    for i in range(24):
        household(bus, households, f"p{i % 5}", i % 14, at=DAY.format(1 + i % 28))
        income(bus, incomes, f"p{i % 7}", i, at=DAY.format(1 + i % 28))
        if i % 8 == 5:
            bus.run().restart()
    bus.restart()
    got = {(p.origin, p.value["tariff_band"]) for p in bus.proposals()}
    calm = Bus(app)
    calm.topics = {at: log for at, log in bus.topics.items() if at[0].startswith("agents.")}
    want = [(p.origin, p.value["tariff_band"]) for p in calm.proposals()]
    assert len(bus.proposals()) == len(got)
    assert got == set(want)
    assert len(got) > BATCH_RECORDS_MAX
    assert set(bus.dead_letters()) == set(calm.dead_letters())


@pytest.mark.parametrize("seed", range(50))
def test_the_hops_bring_every_input_to_the_log_in_its_order(joined, seed):
    """For each outbox partition, what is new in the join's log is in offset order, and nothing is missing."""
    app, households, incomes = joined
    bus = Bus(app, seed=seed)
    for i in range(20):
        household(bus, households, f"p{i % 5}", 1)
        income(bus, incomes, f"p{i % 7}", 1)
        if i % 10 == 5:
            bus.run().restart()
    bus.run()
    logs = [log for (topic, _), log in bus.topics.items() if topic == "agents.test.tariff.log"]
    arrived = {(e.side, e.partition, e.offset) for log in logs for e in new_entries(log)}
    assert arrived == {
        (side, partition, record.offset)
        for side, box in enumerate((households, incomes))
        for (topic, partition), log in bus.topics.items()
        if topic == box.topic
        for record in log
    }


def new_entries(log):
    """What a reader who keeps the highest offset of each outbox partition takes for new."""
    highest = {}
    for record in log:
        entry = decode(record.value, 0)
        if entry.offset > highest.get((entry.side, entry.partition), -1):
            highest[entry.side, entry.partition] = entry.offset
            yield entry
