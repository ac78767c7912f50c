from datetime import UTC, datetime, timedelta

import pytest

from passerelle.dead_letters import Done, NoSuchLetter, find, resolution, waiting
from passerelle_consent.wire import DeadLetter

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
