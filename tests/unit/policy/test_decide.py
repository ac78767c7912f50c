"""What the law says of each basis, and what a joined event needs (DESIGN §5)."""

import itertools

import pytest

from passerelle_consent.policy.agreements import Basis
from passerelle_consent.policy.decide import Decision, Reason, Verdict, compile_table
from passerelle_consent.policy.flows import FlowFault
from passerelle_consent.policy.standing import UNKNOWN_SUBJECT, Override, Protection, State
from unit.policy.city import CATALOGUE, NOW_MS, agreement, flow, stance, standing

STREET = {"registry.moved.v1": ["street"]}
PHONE = {"registry.moved.v1": ["phone"]}
INCOME = {"tax.assessed.v1": ["income"]}
HOUR_MS = 3_600_000


def verdict_under(basis, its_standing, **changes):
    """Decide a flow whose one required field stands on one agreement of this basis."""
    terms = [agreement("whole", basis, {"registry.moved.v1": ["street", "phone"]}, **changes)]
    flows = [flow("f", "registry.moved.v1", ["whole@1"], ["street", "phone"])]
    return compile_table(terms, flows, CATALOGUE, digest=bytes(32)).decide("f", its_standing, NOW_MS)


def permits(decision):
    return decision.verdict is Verdict.PERMIT


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("requested", Reason.CONSENT_NOT_GIVEN),
        ("deferred", Reason.CONSENT_NOT_GIVEN),
        ("given", Reason.VALID_BASIS),
        ("renewed", Reason.VALID_BASIS),
        ("refused", Reason.CONSENT_REFUSED),
        ("expired", Reason.CONSENT_EXPIRED),
        ("withdrawn", Reason.CONSENT_WITHDRAWN),
        ("revoked", Reason.CONSENT_WITHDRAWN),
        ("invalidated", Reason.NOTICE_SUPERSEDED),
        ("unknown", Reason.CONSENT_NOT_GIVEN),
        ("objected", Reason.CONSENT_NOT_GIVEN),
        ("resumed", Reason.CONSENT_NOT_GIVEN),
    ],
)
def test_consent_holds_only_when_given_or_renewed(state, reason):
    decision = verdict_under("6-1-a", standing(stance("whole", state)))
    assert decision.reason is reason
    assert permits(decision) is (reason is Reason.VALID_BASIS)


def test_silence_is_no_consent():
    assert verdict_under("6-1-a", standing()).reason is Reason.CONSENT_NOT_GIVEN


@pytest.mark.parametrize(("until_ms", "permitted"), [(NOW_MS + 1, True), (NOW_MS, False), (NOW_MS - 1, False)])
def test_consent_ends_at_its_expiry(until_ms, permitted):
    decision = verdict_under("6-1-a", standing(stance("whole", "given", until_ms=until_ms)))
    assert permits(decision) is permitted


@pytest.mark.parametrize(("notice", "permitted"), [(2, True), (1, True), (3, False), (None, False)])
def test_consent_is_to_the_notice_shown_or_a_compatible_one(notice, permitted):
    assert permits(verdict_under("6-1-a", standing(stance("whole", "given", notice=notice)))) is permitted


@pytest.mark.parametrize("basis", ["6-1-b", "6-1-c"])
@pytest.mark.parametrize("state", list(State))
def test_contract_and_legal_obligation_ask_nobody(basis, state):
    assert permits(verdict_under(basis, standing(stance("whole", state))))


@pytest.mark.parametrize("basis", ["6-1-e", "6-1-f"])
def test_an_objection_pauses_and_only_a_recorded_ground_resumes(basis):
    assert permits(verdict_under(basis, standing()))
    assert verdict_under(basis, standing(stance("whole", "objected"))).reason is Reason.OBJECTED
    assert permits(verdict_under(basis, standing(stance("whole", "resumed"))))


@pytest.mark.parametrize(
    ("override", "permitted"),
    [
        (Override(agreement="whole", until_ms=NOW_MS + 1), True),
        (Override(agreement="whole", until_ms=NOW_MS), False),
        (Override(agreement="another", until_ms=NOW_MS + HOUR_MS), False),
    ],
)
def test_vital_interests_need_an_override_in_force_for_this_agreement(override, permitted):
    assert permits(verdict_under("6-1-d", standing(overrides=(override,)))) is permitted
    assert verdict_under("6-1-d", standing()).reason is Reason.NO_OVERRIDE


@pytest.mark.parametrize("basis", ["6-1-a", "6-1-b", "6-1-c", "6-1-e", "6-1-f"])
def test_a_restriction_leaves_only_a_consent_given_after_it(basis):
    before, after = stance("whole", "given", at_ms=100), stance("whole", "given", at_ms=102)
    assert verdict_under(basis, standing(before, restricted_since_ms=101)).reason is Reason.RESTRICTED
    assert permits(verdict_under(basis, standing(after, restricted_since_ms=101))) is (basis == "6-1-a")


def test_vital_interests_pass_under_a_restriction():
    override = Override(agreement="whole", until_ms=NOW_MS + 1)
    assert permits(verdict_under("6-1-d", standing(restricted_since_ms=1, overrides=(override,))))


@pytest.mark.parametrize(
    ("in_force", "permitted"),
    [
        ({"from": "2026-11-24"}, False),
        ({"from": "2026-11-23"}, True),
        ({"from": "2026-01-01", "until": "2026-11-23"}, True),
        ({"from": "2026-01-01", "until": "2026-11-22"}, False),
    ],
)
def test_an_agreement_lets_pass_only_while_in_force(in_force, permitted):
    decision = verdict_under("6-1-b", standing(), in_force=in_force)
    assert permits(decision) is permitted
    assert permitted or decision.reason is Reason.AGREEMENT_NOT_IN_FORCE


@pytest.mark.parametrize(
    ("its", "needed"),
    [
        ({}, "adult"),
        ({"minor_until_ms": NOW_MS + 1}, "minor"),
        ({"minor_until_ms": NOW_MS}, "adult"),
        ({"protection": Protection.ASSISTANCE}, "protected-adult"),
        ({"protection": Protection.REPRESENTATION}, "protected-adult"),
        ({"minor_until_ms": NOW_MS + 1, "protection": Protection.REPRESENTATION}, "minor"),
        ({"minor_until_ms": NOW_MS, "protection": Protection.REPRESENTATION}, "protected-adult"),
    ],
)
@pytest.mark.parametrize("covered", ["adult", "minor", "protected-adult"])
def test_an_agreement_is_no_basis_for_a_class_of_subjects_that_it_does_not_cover(its, needed, covered):
    for basis in Basis:
        override = Override(agreement="whole", until_ms=NOW_MS + 1)
        its_standing = standing(stance("whole", "given"), overrides=(override,), **its)
        decision = verdict_under(basis, its_standing, subjects=[covered])
        assert permits(decision) is (covered == needed)
        assert permits(decision) or decision.reason is Reason.SUBJECT_NOT_COVERED


def test_the_reason_told_is_the_one_that_the_subject_could_mend_least():
    """Neither a consent nor the end of a restriction would help a subject whom the agreement does not cover."""
    minor = standing(minor_until_ms=NOW_MS + 1, restricted_since_ms=1)
    assert verdict_under("6-1-a", minor).reason is Reason.SUBJECT_NOT_COVERED
    assert verdict_under("6-1-a", minor, subjects=["minor"]).reason is Reason.RESTRICTED
    assert verdict_under("6-1-a", minor, in_force={"from": "2027-01-01"}).reason is Reason.AGREEMENT_NOT_IN_FORCE


def test_what_is_unknown_is_denied():
    terms = [agreement("whole", "6-1-b", {"registry.moved.v1": ["street", "phone"]})]
    table = compile_table(
        terms, [flow("f", "registry.moved.v1", ["whole@1"], ["street", "phone"])], CATALOGUE, digest=bytes(32)
    )
    assert table.decide("nowhere", standing(), NOW_MS) == Decision(verdict=Verdict.DENY, reason=Reason.UNKNOWN_FLOW)
    assert table.decide("f", UNKNOWN_SUBJECT, NOW_MS) == Decision(verdict=Verdict.DENY, reason=Reason.UNKNOWN_SUBJECT)
    assert table.flow("nowhere") is None


def test_a_joined_field_needs_all_of_its_sources():
    """Eight ways for three agreements to stand: permit, redact or deny by which fields they carry."""
    terms = [agreement("s", "6-1-a", STREET), agreement("i", "6-1-a", INCOME), agreement("p", "6-1-a", PHONE)]
    flows = [flow("f", "schools.tariff.v1", ["s@1", "i@1", "p@1"], ["band"], ["hint"])]
    table = compile_table(terms, flows, CATALOGUE, digest=bytes(32))
    for given in itertools.chain.from_iterable(itertools.combinations("sip", n) for n in range(4)):
        decision = table.decide("f", standing(*(stance(a, "given") for a in given)), NOW_MS)
        if not {"s", "i"} <= set(given):
            assert decision == Decision(verdict=Verdict.DENY, reason=Reason.CONSENT_NOT_GIVEN)
        elif "p" in given:
            assert decision == Decision(verdict=Verdict.PERMIT, reason=Reason.VALID_BASIS)
        else:
            assert decision == Decision(verdict=Verdict.REDACT, reason=Reason.CONSENT_NOT_GIVEN, withheld=("hint",))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"event": "schools.tariff.v9"}, "no contract schools.tariff.v9"),
        ({"agreements": ["s@2"]}, "no agreement s@2"),
        ({"agreements": ["s@1", "p@1"]}, "no agreement of this flow covers tax.assessed.v1#income"),
        ({"agreements": ["s@1", "s2@1", "i@1", "p@1"]}, "covered twice, by s@1 and s2@1"),
        ({"agreements": ["s@1", "i@1", "other@1"]}, "is for police, not schools"),
        ({"required": ["band", "colour"]}, "has no field colour"),
        ({"required": ["band"], "optional": []}, "field hint of schools.tariff.v1 is neither required nor optional"),
        ({"required": ["hint"], "optional": ["band"]}, "its type must be a union with null"),
        ({"required": ["band", "hint"], "optional": ["hint"]}, "is required as well"),
        ({"purpose": "dpv:Marketing"}, "not dpv:Marketing"),
    ],
)
def test_a_flow_that_its_agreements_do_not_carry_is_refused(changed, said):
    terms = [
        agreement("s", "6-1-a", STREET),
        agreement("s2", "6-1-b", STREET),
        agreement("i", "6-1-a", INCOME),
        agreement("p", "6-1-a", PHONE),
        agreement("other", "6-1-a", PHONE, recipient="police"),
    ]
    document = {
        "id_": "f",
        "event": "schools.tariff.v1",
        "agreements": ["s@1", "i@1", "p@1"],
        "required": ["band"],
        "optional": ["hint"],
    }
    with pytest.raises(FlowFault) as caught:
        compile_table(terms, [flow(**document | changed)], CATALOGUE, digest=bytes(32))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "block",
    [
        {"valid_for": "2 years"},
        {"valid_for": "P"},
        {"guardians": "all"},
        {"own_voice": {"age": 18, "law": "L"}},
        {"own_voice": {"age": 15}},
        {"own_voice": {"age": 15, "law": " "}},
        {"until": "P1Y"},
    ],
)
def test_a_consent_block_that_cannot_be_read_is_refused(block):
    with pytest.raises(ValueError, match="consent"):
        agreement("x", "6-1-a", STREET, consent=block)


@pytest.mark.parametrize("basis", ["6-1-c", "6-1-e"])
def test_a_public_duty_without_its_law_is_refused(basis):
    with pytest.raises(ValueError, match="needs the law"):
        agreement("x", basis, STREET, law=None)
