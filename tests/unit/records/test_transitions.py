"""The transition table, and the table of who may call what."""

import itertools

import pytest
from fastapi.routing import APIRoute

from passerelle_consent.policy.agreements import Basis
from passerelle_consent.policy.standing import State
from passerelle_consent.records.http.access import OPEN, RULES, GuardedRoute
from passerelle_consent.records.transitions import TRANSITIONS, Action, IllegalTransition, follow, legal_actions


@pytest.mark.parametrize(("state", "action", "basis"), itertools.product(State, Action, Basis))
def test_every_transition_is_legal_or_says_what_is(state, action, basis):
    legal = legal_actions(state, basis)
    if action in legal:
        assert follow(state, action, basis) is TRANSITIONS[action][state]
        return
    with pytest.raises(IllegalTransition) as refused:
        follow(state, action, basis)
    assert refused.value.legal == legal


def test_consent_is_withdrawn_only_where_it_was_given():
    assert set(TRANSITIONS[Action.WITHDRAW]) == {State.GIVEN, State.RENEWED}


def test_whatever_ended_can_be_given_anew():
    assert {State.WITHDRAWN, State.REFUSED, State.EXPIRED, State.REVOKED, State.INVALIDATED} <= set(
        TRANSITIONS[Action.GIVE]
    )


def test_only_public_task_and_legitimate_interests_can_be_objected():
    objected = {basis for basis in Basis if Action.OBJECT in legal_actions(State.UNKNOWN, basis)}
    assert objected == {Basis.PUBLIC_TASK, Basis.LEGITIMATE_INTERESTS}


def test_every_route_has_a_rule_and_every_rule_a_route():
    from passerelle_consent.records.http.app import ROUTERS

    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    served = {(method, route.path_format) for route in routes for method in route.methods}
    assert served == RULES.keys() | OPEN


def test_a_route_without_a_rule_is_refused():
    async def read_everything():
        return {}

    with pytest.raises(KeyError):
        GuardedRoute("/v1/everything", read_everything, methods=["GET"])


async def test_every_route_refuses_every_role_that_its_rule_does_not_name(city):
    from unit.records.fakes import TOKENS

    for (method, template), allowed in RULES.items():
        path = template.format(pseudonym="0" * 32, agreement="moves-to-schools", acknowledgement="0" * 32)
        for token, principal in TOKENS.items():
            status = (await city.call(method, path, {}, token)).status_code
            assert (status == 403) == principal.roles.isdisjoint(allowed), (method, template, token)
        assert (await city.call(method, path, {}, token=None)).status_code == 401
