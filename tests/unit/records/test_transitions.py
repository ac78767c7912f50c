"""The transition table, and the table of who may call what."""

import itertools

import pytest

from passerelle_consent.policy.agreements import Basis
from passerelle_consent.policy.standing import State
from passerelle_consent.records.transitions import TRANSITIONS, Action, IllegalTransition, follow, legal_actions


def test_every_transition_is_legal_or_says_what_is():
    for state, action, basis in itertools.product(State, Action, Basis):
        legal = legal_actions(state, basis)
        if action in legal:
            assert follow(state, action, basis) is TRANSITIONS[action][state], (state, action, basis)
            continue
        with pytest.raises(IllegalTransition) as refused:
            follow(state, action, basis)
        assert refused.value.legal == legal, (state, action, basis)


ACTIONS = "request defer give refuse withdraw revoke invalidate expire"
CONSENT = {
    "unknown": "requested - given refused - - - -",
    "requested": "- deferred given refused - - - -",
    "deferred": "requested - given refused - - - -",
    "given": "- - renewed - withdrawn revoked invalidated expired",
    "renewed": "- - renewed - withdrawn revoked invalidated expired",
    "refused": "- - given - - - - -",
    "expired": "requested - given refused - - - -",
    "withdrawn": "requested - given - - - - -",
    "revoked": "requested - given - - - - -",
    "invalidated": "requested - given refused - - - -",
    "objected": "requested - given refused - - - -",
    "resumed": "requested - given refused - - - -",
}
"""What follows which state, written down a second time: the rows are states, the columns `ACTIONS`."""


@pytest.mark.parametrize("state", State)
def test_what_follows_a_state_under_consent(state):
    expected = dict(zip(ACTIONS.split(), CONSENT[state].split(), strict=True))
    legal = {action.value: TRANSITIONS[action][state].value for action in legal_actions(state, Basis.CONSENT)}
    assert legal == {action: after for action, after in expected.items() if after != "-"}


@pytest.mark.parametrize("basis", [basis for basis in Basis if basis is not Basis.CONSENT])
@pytest.mark.parametrize("state", State)
def test_what_follows_a_state_under_any_other_basis(state, basis):
    objected = {"uphold": "objected", "resume": "resumed"} if state is State.OBJECTED else {"object": "objected"}
    expected = objected if basis in (Basis.PUBLIC_TASK, Basis.LEGITIMATE_INTERESTS) else {}
    assert {a.value: TRANSITIONS[a][state].value for a in legal_actions(state, basis)} == expected


def test_every_state_can_be_reached_and_be_left():
    reached = {after for table in TRANSITIONS.values() for after in table.values()}
    assert reached == set(State) - {State.UNKNOWN}
    left = {before for table in TRANSITIONS.values() for before in table}
    assert left == set(State)


def test_consent_is_withdrawn_only_where_it_was_given():
    assert set(TRANSITIONS[Action.WITHDRAW]) == {State.GIVEN, State.RENEWED}


def test_whatever_ended_can_be_given_anew():
    assert {State.WITHDRAWN, State.REFUSED, State.EXPIRED, State.REVOKED, State.INVALIDATED} <= set(
        TRANSITIONS[Action.GIVE]
    )


def test_only_public_task_and_legitimate_interests_can_be_objected():
    objected = {basis for basis in Basis if Action.OBJECT in legal_actions(State.UNKNOWN, basis)}
    assert objected == {Basis.PUBLIC_TASK, Basis.LEGITIMATE_INTERESTS}
