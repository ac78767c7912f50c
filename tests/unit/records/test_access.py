"""Who may call what: every route with every role, from the code, so that a route without a rule is found."""

import re

import pytest
from fastapi.routing import APIRoute

from passerelle_consent.records.http.access import OPEN, RULES, GuardedRoute
from passerelle_consent.records.http.app import ROUTERS
from passerelle_consent.records.ports import PERSONAL, Role
from unit.records.fakes import citizen

NOBODY = "0" * 32
ROUTES = [(m, r) for router in ROUTERS for r in router.routes if isinstance(r, APIRoute) for m in r.methods]


BODIES = {
    **{f"/{said}": {"notice": 1} for said in ("give", "refuse", "withdraw", "object", "defer")},
    "/overrides": {"agreements": ["frail-to-emergency"], "reason_code": "heat", "hours": 1},
    "/review": {"outcome": "justified"},
    "/guardians": {
        "guardian": "2" * 32,
        "relation": "parent",
        "evidence": "EC-1",
        "valid_from": "2026-01-01T00:00:00Z",
    },
    "/end": {"evidence": "EC-1"},
    "/emancipation": {"evidence": "EC-1"},
    "/answer": {"outcome": "upheld"},
    "/restriction": {"ground": "18-1-a"},
}
"""Well-formed bodies, by the end of the route."""


def bearing(role):
    """A token with this scope alone."""
    if role in PERSONAL:
        return citizen(NOBODY if role is Role.CITIZEN else "1" * 32, role.value)
    has_department = role in (Role.DEPARTMENT, Role.OFFICER)
    return {"scope": role.value, "department": "citizen-desk" if has_department else None}


def filled(template):
    """A path of this template; nobody gets as far as looking at it."""
    agreement = "moves-to-cleanliness" if template.endswith("/object") else "moves-to-schools"
    return re.sub(r"{(\w+)}", lambda m: {"agreement": agreement}.get(m[1], NOBODY), template)


def kind(answer):
    return answer.json()["type"].rpartition(":")[2] if answer.status_code in (401, 403) else None


def test_every_route_has_a_rule_and_every_rule_a_route():
    assert {(method, route.path_format) for method, route in ROUTES} == RULES.keys() | OPEN


def test_no_route_is_served_past_the_guard(city):
    assert [r.path for r in city.app.routes if hasattr(r, "path")] == []
    assert all(isinstance(route, GuardedRoute) for _, route in ROUTES)


def test_a_route_without_a_rule_is_refused():
    async def read_everything():
        return {}

    with pytest.raises(KeyError):
        GuardedRoute("/v1/everything", read_everything, methods=["GET"])


@pytest.mark.parametrize(("method", "template"), sorted(RULES))
async def test_a_route_lets_in_the_roles_of_its_rule_and_no_other(city, method, template):
    path = filled(template)
    assert kind(await city.call(method, path, {}, token=None)) == "unauthenticated"
    for role in Role:
        answer = await city.call(method, path, {}, bearing(role))
        assert (kind(answer) == "insufficient-scope") == (role not in RULES[method, template]), role
    answer = await city.call(method, path, {}, {"scope": "openid profile"})
    assert kind(answer) == "insufficient-scope"


@pytest.mark.parametrize(("method", "template"), sorted(key for key in RULES if "{pseudonym}" in key[1]))
async def test_no_citizen_gets_at_somebody_elses_pseudonym(city, method, template):
    (pseudonym,) = await city.link("Durand")
    path = filled(template.replace("{pseudonym}", pseudonym))
    before = list(city.broker.records)
    refusals = {"citizen": "not-your-pseudonym", "citizen guardian": "not-guardian"}
    for scope, refusal in refusals.items():
        answer = await city.call(method, path, body_of(template), citizen(NOBODY, scope))
        assert answer.status_code == 403
        allowed = RULES[method, template] & {Role(word) for word in scope.split()}
        assert kind(answer) == (refusal if allowed else "insufficient-scope")
    assert city.broker.records == before


REFUSALS = ("unknown-subject", "unknown-objection", "unknown-override", "not-the-source", "not-a-registrar")


def body_of(template):
    return next((body for end, body in BODIES.items() if template.endswith(end)), {})


@pytest.mark.parametrize(("method", "template"), sorted(key for key in RULES if "{pseudonym}" in key[1]))
async def test_offices_find_nobody_behind_another_departments_pseudonym(city, method, template):
    (pseudonym,) = await city.link("Durand")
    path = filled(template.replace("{pseudonym}", pseudonym))
    before = list(city.broker.records)
    for role in RULES[method, template] & {Role.DEPARTMENT, Role.OFFICER}:
        said = body_of(template)
        answer = await city.call(
            method, path, None if method == "GET" else said, {"scope": role.value, "department": "tax"}
        )
        assert answer.status_code >= 400
        refusal = answer.json()["type"].rpartition(":")[2]
        assert refusal in REFUSALS, answer.text
    assert city.broker.records == before
