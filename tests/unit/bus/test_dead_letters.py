from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from passerelle.dead_letters import REPLAYS_MAX, Done, NoSuchLetter, ReplayedEnough, find, resolution, waiting
from passerelle.envelope import Event, parse_proposal, proposal_headers
from passerelle.gate.again import again
from passerelle_consent.wire import DeadLetter, Origin

START = datetime(2026, 11, 23, tzinfo=UTC)


def letter(offset, reason="status 500"):
    return DeadLetter(component="webhook", reason=reason, topic="inbox.schools", partition=2, offset=offset)


def folded(*letters):
    return waiting([(START + timedelta(minutes=n), one) for n, one in enumerate(letters)], "schools")


def test_a_record_is_one_line_however_often_it_was_tried():
    (one, other) = folded(letter(5), letter(7), letter(5, "no answer in time"))
    assert (one.reference, one.owner, one.count) == ("inbox.schools[2]@5", "schools", 2)
    assert (one.first, one.last) == (START, START + timedelta(minutes=2))
    assert one.letter.reason == "no answer in time"
    assert other.reference == "inbox.schools[2]@7"


@pytest.mark.parametrize("done", Done)
def test_what_was_settled_waits_no_more_until_it_fails_again(done):
    settled = resolution(letter(5), done)
    assert DeadLetter.decode(settled.encode()) == settled
    assert folded(letter(5), settled) == []
    (again,) = folded(letter(5), settled, letter(5))
    assert again.count == 1


def test_a_reference_that_does_not_wait():
    with pytest.raises(NoSuchLetter, match=r"no dead letter inbox.schools\[2\]@6 waits"):
        find(folded(letter(5)), "inbox.schools[2]@6")


def test_what_came_back_from_three_replays_needs_a_word_more():
    tried = [letter(5)]
    for replays in range(REPLAYS_MAX):
        (one,) = folded(*tried)
        assert one.replays == replays
        one.may_be_replayed(again=False)
        tried += [resolution(letter(5), Done.REPLAYED), letter(5)]
    (one,) = folded(*tried)
    with pytest.raises(ReplayedEnough, match="was replayed 3 times, and came back"):
        one.may_be_replayed(again=False)
    one.may_be_replayed(again=True)


def test_a_proposal_that_comes_back_lies_elsewhere_and_is_counted_all_the_same():
    (one,) = folded(replace(letter(9), rule="tariff~dl-0123456789ab-1~dl-ba9876543210-2"))
    assert one.replays == 2


def test_a_replay_that_is_begun_anew_is_the_same_and_the_next_one_another():
    (one,) = folded(letter(5))
    (again_,) = folded(letter(5), letter(5))
    (next_,) = folded(letter(5), resolution(letter(5), Done.REPLAYED), letter(5))
    assert one.run == again_.run != next_.run


def test_a_department_and_the_bus_are_named_apart():
    (one,) = folded(letter(5))
    (gate,) = waiting([(START, replace(letter(5), component="gate"))], "gate")
    assert (one.component, gate.component) == ("webhook.schools", "gate")


def test_a_proposal_once_more_is_the_same_event_from_a_source_of_its_own():
    event = Event(id="e", source="/department/tax", type="tax.income-assessed.v1", time="2026-11-23T12:00:00.000Z")
    origin = Origin(rule="tariff", topic="outbox.tax.income-assessed", partition=1, offset=2, n=3)
    headers = again(proposal_headers(event, flow="f", origin=origin), "dl-1-1")
    assert parse_proposal(headers).origin == replace(origin, rule="tariff~dl-1-1")
    assert parse_proposal(headers).event == event
    assert again([("ce_origin", b"\xff"), ("x", b"y")], "dl-1-1") == [("ce_origin", b"\xff"), ("x", b"y")]
