"""The what-if over real stores: each decision with what stood at its time, and not a byte of any store changed."""

import hashlib
from pathlib import Path

import pytest
import sqlalchemy as sa

from passerelle.replay import Replaying
from passerelle_consent.ledger.database.store import Store
from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_consent.policy.decide import Decision, Reason, Verdict
from passerelle_consent.policy.replay import Lost, Transition
from passerelle_consent.policy.standing import UNKNOWN_SUBJECT
from passerelle_consent.records.past import looking_back, past_of
from unit.ledger.fakes import MASTERS
from unit.policy import city as small
from unit.records.told import AGREEMENTS, BUNDLE, FLOWS

PERMIT = Decision(verdict=Verdict.PERMIT, reason=Reason.VALID_BASIS)
BY_LAW = small.agreement("home", "6-1-e", {"registry.moved.v1": ["street", "phone"]})
CHANGED = PolicyBundle.of([BY_LAW, AGREEMENTS[1]], [FLOWS[0]], small.CATALOGUE)


def replayed(told, changed=CHANGED, since_ms=0):
    store = Store(told.town.url, read_only=True)
    try:
        with store.reading() as ledger, looking_back(told.city.store_url) as consent:
            return Replaying(ledger, consent, MASTERS, since_ms).run(changed.table())
    finally:
        store.close()


def judged(told, pseudonym, flow=0, count=1):
    """Decide as the gate does: on what the broker carries, by the policy in force."""
    stood = told.city.broker.standings(told.city.ref(pseudonym)) if pseudonym else []
    told.town.now_ms = told.city.clock() - 1000  # `decide` lets a second pass
    at_ms = told.city.clock()
    decision = BUNDLE.table().decide(FLOWS[flow].id, stood[-1] if stood else UNKNOWN_SUBJECT, at_ms)
    told.town.now_ms = at_ms - 1000
    fields = {"verdict": decision.verdict, "reason": decision.reason, "withheld": decision.withheld}
    told.decide(pseudonym, flow=flow, count=count, **fields)
    return decision


async def said(told, action, pseudonym):
    assert (await told.city.say(action, pseudonym, "home", notice=2)).status_code == 200
    told.integrate()


async def a_history(told, marie):
    """Before the consent, under it, after its withdrawal; on both flows."""
    judged(told, marie)
    await said(told, "give", marie)
    judged(told, marie, count=3)
    judged(told, marie, flow=1)
    await said(told, "withdraw", marie)
    judged(told, marie, count=2)


async def test_each_decision_is_decided_on_what_stood_at_its_time(told, marie):
    await a_history(told, marie)
    report = replayed(told)
    denied = [Decision(verdict=Verdict.DENY, reason=r) for r in (Reason.CONSENT_NOT_GIVEN, Reason.CONSENT_WITHDRAWN)]
    gone = Decision(verdict=Verdict.DENY, reason=Reason.UNKNOWN_FLOW)
    assert {transition: cases.count for transition, cases in report.changed.items()} == {
        Transition("tariff", denied[0], PERMIT): 1,
        Transition("tariff", denied[1], PERMIT): 2,
        Transition("moves", PERMIT, gone): 1,
    }
    assert (report.unchanged, report.reproduced, report.decided_again, report.lost) == (3, 7, 7, {})
    assert (report.flows_gone, report.flows_new) == (("moves",), ())


async def test_the_policy_in_force_makes_no_difference(told, marie):
    await a_history(told, marie)
    report = replayed(told, BUNDLE)
    assert (report.unchanged, report.changed, report.not_reproduced) == (7, {}, {})


async def test_only_what_was_decided_since_is_looked_at(told, marie):
    await a_history(told, marie)
    since_ms = told.city.clock()
    judged(told, marie)
    assert replayed(told, since_ms=since_ms).decisions == 1


async def test_erased_subjects_are_counted_and_nothing_else_is_known_of_them(told, marie):
    await a_history(told, marie)
    told.town.note("erased", subject=told.city.ref(marie), regarding=None)
    told.integrate()
    report = replayed(told)
    assert (report.lost, report.decided_again) == ({Lost.ERASED: 7}, 0)


async def test_what_the_gate_did_not_know_stays_unknown(told, marie):
    nobody = "f" * 32
    told.town.now_ms = told.city.clock()
    told.decide(nobody, verdict=Verdict.DENY, reason=Reason.UNKNOWN_SUBJECT)
    report = replayed(told)
    assert (report.unchanged, report.lost) == (1, {})


async def test_a_policy_that_never_was_published_here_is_named(told, marie):
    await a_history(told, marie)
    with told.city.records._parts.store._database._engine.begin() as conn:
        conn.execute(sa.text("DELETE FROM policies"))
    assert replayed(told).lost == {Lost.POLICY_NOT_KEPT: 7}


async def test_until_a_change_is_in_effect_either_standing_may_have_decided(told, marie):
    with looking_back(told.city.store_url) as conn:
        before = past_of(conn, told.city.ref(marie))
    await said(told, "give", marie)
    with looking_back(told.city.store_url) as conn:
        after = past_of(conn, told.city.ref(marie))
    given = after.left[-1]
    assert [s.revision for s in after.at(given.at_ms - 1)] == [1, 0]
    assert [s.revision for s in after.at(given.at_ms)] == [2, 1, 0]
    assert [s.revision for s in after.at(given.settled_ms)] == [2]
    assert len(before.left) == 1
    assert before.at(before.left[0].at_ms - 1) == [UNKNOWN_SUBJECT]


def written(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).digest() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


async def test_a_replay_writes_nothing(told, marie, tmp_path):
    if not told.city.store_url.startswith("sqlite"):
        pytest.skip("files are SQLite's; on PostgreSQL the transaction is read-only")
    await a_history(told, marie)
    sent, before = list(told.city.broker.records), written(tmp_path)
    replayed(told)
    after = written(tmp_path)
    assert {name: digest for name, digest in after.items() if not name.endswith("-shm")} == {
        name: digest for name, digest in before.items() if not name.endswith("-shm")
    }
    assert told.city.broker.records == sent


async def test_the_store_looked_back_at_cannot_be_written(told, marie):
    with looking_back(told.city.store_url) as conn, pytest.raises(sa.exc.DBAPIError):
        conn.execute(sa.text("DELETE FROM changes"))
