"""Up to where an outbox is settled, against a model of transactions that draw ids and end in any order."""

import random

from hypothesis import given
from hypothesis import strategies as st

from passerelle.publish.horizon import PREPARED, Horizon


def test_with_nobody_writing_all_that_waits_is_settled():
    assert Horizon().look(7, frozenset()) == 7


def test_rows_wait_for_whoever_was_writing_and_for_nobody_after():
    horizon = Horizon()
    assert horizon.look(7, frozenset({"3/1"})) == 0
    assert horizon.held
    assert horizon.look(9, frozenset({"3/1", "4/1"})) == 0
    assert horizon.look(12, frozenset({"4/1"})) == 7
    assert horizon.look(12, frozenset({"5/1"})) == 12


def test_the_same_session_in_its_next_transaction_is_somebody_else():
    horizon = Horizon()
    horizon.look(7, frozenset({"3/1"}))
    assert horizon.look(7, frozenset({"3/2"})) == 7


def test_a_prepared_transaction_goes_by_another_name_and_is_waited_for():
    horizon = Horizon()
    horizon.look(7, frozenset({"3/1"}))
    assert horizon.look(7, frozenset({PREPARED})) == 0
    assert horizon.look(7, frozenset()) == 7


@given(st.integers(0, 2**32))
def test_nothing_appears_below_what_is_settled(seed):
    rng = random.Random(seed)
    horizon, drawn, settled = Horizon(), 0, 0
    open_, visible = {}, {0}
    for step in range(200):
        match rng.choice(("begin", "draw", "end", "look")):
            case "begin":
                open_[f"t/{step}"] = []
            case "draw" if open_:
                drawn += 1
                open_[rng.choice(sorted(open_))].append(drawn)
            case "end" if open_:
                ids = open_.pop(rng.choice(sorted(open_)))
                if rng.random() < 0.8:
                    assert all(number > settled for number in ids)
                    visible |= set(ids)
            case "look":
                settled = horizon.look(max(visible), frozenset(open_))
                assert settled <= max(visible)
    assert horizon.look(max(visible), frozenset()) == max(visible)
