"""What a task knows: consent and policy applied in order, and held rather than guessed."""

import pytest

from passerelle.gate.policy import compile_policy, policy_reader
from passerelle.gate.state import TaskState
from passerelle_consent.wire import (
    POLICY_KEY,
    ROLL_KEY,
    BadRecord,
    Erasure,
    Mark,
    encode_erasure,
    encode_mark,
    encode_standing,
)
from passerelle_schemas.faults import Fault
from unit.gate.town import ANN, BUNDLE, POLICY, RECIPIENTS
from unit.policy.city import NOW_MS, stance, standing

PACKED = BUNDLE.pack()
PHONE = frozenset({"phone"})
GIVEN = encode_standing(standing(stance("phone", "given")))
WITHDRAWN = encode_standing(standing(stance("phone", "withdrawn")))


@pytest.fixture
def state():
    return TaskState(3, policy_reader(RECIPIENTS))


def said(state):
    return state.standings.at(ANN, NOW_MS, PHONE).standing.stances["phone"].state


def test_without_a_policy_a_task_is_held(state):
    assert state.held == "no-policy"
    state.apply_consent(0, POLICY_KEY, PACKED)
    assert state.held is None
    assert state.policy.digest == POLICY.digest


def test_the_newest_standing_counts(state):
    state.apply_consent(0, ANN, GIVEN)
    state.apply_consent(4, ANN, WITHDRAWN)
    assert said(state) == "withdrawn"
    assert state.applied == 5


def test_a_record_that_was_applied_already_changes_nothing(state):
    state.apply_consent(4, ANN, WITHDRAWN)
    state.apply_consent(3, ANN, GIVEN)
    assert said(state) == "withdrawn"
    assert state.applied == 5


def test_a_late_duplicate_does_not_undo_a_withdrawal(state):
    state.apply_consent(0, ANN, encode_standing(standing(stance("phone", "given"), revision=4)))
    state.apply_consent(1, ANN, encode_standing(standing(stance("phone", "withdrawn"), revision=5)))
    state.apply_consent(2, ANN, encode_standing(standing(stance("phone", "given"), revision=4)))
    assert said(state) == "withdrawn"
    assert state.applied == 3


def test_a_subject_linked_anew_begins_again(state):
    state.apply_consent(0, ANN, encode_standing(standing(stance("phone", "given"), revision=4)))
    state.apply_consent(1, ANN, None)
    state.apply_consent(2, ANN, encode_standing(standing(revision=1)))
    assert state.standings.at(ANN, NOW_MS, PHONE).standing.stances == {}


def test_a_duplicate_does_not_stand_in_for_what_could_not_be_read(state):
    given = encode_standing(standing(stance("phone", "given"), revision=4))
    state.apply_consent(0, POLICY_KEY, PACKED)
    state.apply_consent(1, ANN, given)
    state.apply_consent(2, ANN, b"\x01 perhaps a withdrawal")
    state.apply_consent(3, ANN, given)
    assert state.held == "unreadable-standing"
    state.apply_consent(4, ANN, encode_standing(standing(revision=6)))
    assert state.held is None


def test_an_erased_subject_is_forgotten(state):
    state.apply_consent(0, ANN, GIVEN)
    state.apply_consent(1, ANN, None)
    assert ANN not in state.standings


def erasure(revision=5):
    return encode_erasure(Erasure(id=b"e" * 16, revision=revision, at_ms=NOW_MS, departments=("schools",)))


def test_a_standing_that_is_sent_again_does_not_bring_an_erased_subject_back(state):
    given = encode_standing(standing(stance("phone", "given"), revision=4))
    state.apply_consent(0, ANN, given)
    state.apply_consent(1, ANN, erasure())
    state.apply_consent(2, ANN, given)
    assert not state.standings.at(ANN, NOW_MS, PHONE).linked
    state.apply_consent(3, ANN, None)
    state.apply_consent(4, ANN, encode_standing(standing(revision=1)))
    assert state.standings.at(ANN, NOW_MS, PHONE).standing.linked


def test_recipients_are_told_of_an_erasure_once(state):
    state.apply_consent(0, ANN, erasure())
    state.apply_consent(1, ANN, erasure())  # the relay repeats itself
    assert [(e.offset, e.ref, e.erasure.departments) for e in state.erased] == [(0, ANN, ("schools",))]
    state.settle(decided=0, fenced=2, moved={})
    state.apply_consent(2, ANN, erasure())
    assert state.erased == []


def test_who_takes_over_tells_what_the_last_owner_did_not_commit(state):
    state.told = 1
    state.apply_consent(0, ANN, erasure())
    state.apply_consent(1, b"bob-subject-ref!", erasure())
    assert [e.ref for e in state.erased] == [b"bob-subject-ref!"]


def test_a_record_that_says_nothing_is_passed_over(state):
    state.apply_consent(0, POLICY_KEY, PACKED)
    state.apply_consent(1, ROLL_KEY, None)
    assert (state.held, state.applied, len(state.standings)) == (None, 2, 0)


def test_an_erasure_that_cannot_be_read_holds(state):
    state.apply_consent(0, POLICY_KEY, PACKED)
    state.apply_consent(1, ANN, erasure() + b"\0")
    assert state.held == "unreadable-standing"


def test_a_policy_that_is_taken_away_holds(state):
    state.apply_consent(0, POLICY_KEY, PACKED)
    state.apply_consent(1, POLICY_KEY, None)
    assert state.held == "no-policy"


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        (POLICY_KEY, b"not gzip", "unreadable-policy"),
        (ANN, b"\x01garbage", "unreadable-standing"),
        (ANN, GIVEN + b"\0", "unreadable-standing"),
        (b"no-ref", GIVEN, "unreadable-standing"),
        (None, GIVEN, "unreadable-standing"),
    ],
)
def test_what_cannot_be_read_holds_until_its_key_is_written_again(state, key, value, why):
    state.apply_consent(0, POLICY_KEY, PACKED)
    state.apply_consent(1, key, value)
    assert state.held == why
    assert state.applied == 2
    state.apply_consent(2, b"another-subject!", GIVEN)
    assert state.held == why
    state.apply_consent(3, key, PACKED if key == POLICY_KEY else None)
    assert state.held is None


def test_a_policy_with_a_recipient_that_has_no_inbox_holds():
    state = TaskState(3, policy_reader(frozenset({"schools"})))
    state.apply_consent(0, POLICY_KEY, PACKED)
    assert state.held == "unreadable-policy"
    with pytest.raises(Fault, match="police"):
        compile_policy(PACKED, frozenset({"schools"}))


def test_marks_are_loaded_and_settled(state):
    state.load_mark(b"moves;outbox.a.b;0", encode_mark(Mark(offset=4, n=1)))
    state.settle(decided=8, fenced=2, moved={b"moves;outbox.a.b;0": Mark(offset=6, n=0)})
    assert state.marks == {b"moves;outbox.a.b;0": Mark(offset=6, n=0)}
    assert (state.decided, state.fenced) == (8, 2)


def test_a_mark_that_cannot_be_read_is_a_fault(state):
    with pytest.raises(BadRecord):
        state.load_mark(b"moves;outbox.a.b;0", None)
    with pytest.raises(BadRecord):
        state.load_mark(b"moves;outbox.a.b;0", b"\x01")
