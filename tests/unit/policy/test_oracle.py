"""The decision table against Cedar: two readings of the same rules agree on every case that Hypothesis thinks of.

And the comparison is worth something: a rule broken in the table is found, and so is a Cedar policy left out.
"""

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from passerelle_consent.policy import decide
from passerelle_consent.policy import standings as kept_standings
from passerelle_consent.policy.agreements import Basis, Notice, SubjectClass
from passerelle_consent.policy.decide import CompiledAgreement, Reason, Verdict, compile_table
from passerelle_consent.policy.standing import Override, Protection, Stance, Standing, State
from passerelle_consent.policy.standings import CONSENTED, Standings
from passerelle_consent.wire import decode_standing, encode_standing
from unit.policy.city import CATALOGUE, NOW_MS, agreement, flow
from unit.policy.oracle.reading import IDS, TEXT, Opinion, Oracle, without

ANN = b"ann-subject-ref!"
DAY_MS = 86_400_000
MIDNIGHT_MS = NOW_MS // DAY_MS * DAY_MS
FOUND_IN = 6_000
"""Cases within which any bug must be found; most are in some dozens."""
SOURCES = ("registry.moved.v1#street", "tax.assessed.v1#income", "registry.moved.v1#phone")
NAMES = ("north", "south")
# Few instants, and all on both sides of what turns at midnight, at an expiry, at a restriction, at an 18th birthday.
instants = st.builds(
    lambda day, off: MIDNIGHT_MS + day * DAY_MS + off, st.integers(-1, 2), st.sampled_from([-1, 0, 1, DAY_MS // 2])
)
days = st.sampled_from(["2026-11-22", "2026-11-23", "2026-11-24"])
spans = st.builds(lambda a, b: {"from": min(a, b or a), "until": b and max(a, b)}, days, st.none() | days)
spans = st.just({"from": "2026-01-01", "until": None}) | spans
notices = st.builds(lambda version, also: {"version": version, "compatible_with": also, "fr": "a", "en": "a"},
                    st.integers(1, 2), st.sampled_from([[], [1], [1, 2]]))  # fmt: skip
classes = st.sets(st.sampled_from(SubjectClass), min_size=1)
classes = st.just(set(SubjectClass)) | classes
stances = st.builds(
    Stance,
    agreement=st.sampled_from(NAMES),
    state=st.sampled_from(sorted(CONSENTED)) | st.sampled_from(State),
    notice=st.just(1) | st.none() | st.integers(1, 3),
    at_ms=instants,
    until_ms=st.none() | instants,
)
standings = st.builds(
    Standing,
    linked=st.integers(0, 9).map(bool),
    stances=st.lists(stances, max_size=4).map(lambda said: {s.agreement: s for s in said}),
    restricted_since_ms=st.integers(0, 3).flatmap(lambda n: instants if n == 3 else st.none()),
    overrides=st.lists(st.builds(Override, agreement=st.sampled_from(NAMES), until_ms=instants), max_size=2).map(tuple),
    minor_until_ms=st.none() | instants,
    protection=st.none() | st.none() | st.sampled_from(Protection),
)


def moments(standing):
    """When to decide about it: half of the time, when something of it turns."""
    ends = [*(s.until_ms for s in standing.stances.values()), *(o.until_ms for o in standing.overrides)]
    turns = sorted({*ends, standing.minor_until_ms} - {None})
    return st.lists(instants | st.sampled_from(turns) if turns else instants, min_size=1, max_size=3)


@st.composite
def policies(draw):
    """One or two agreements that share the three sources between them, and a flow that joins them."""
    owners = [draw(st.sampled_from(NAMES)) for _ in SOURCES]
    terms = []
    for name in sorted(set(owners)):
        covers = {}
        for source, owner in zip(SOURCES, owners, strict=True):
            if owner == name:
                event, field = source.split("#")
                covers.setdefault(event, []).append(field)
        basis = draw(st.just(Basis.CONSENT) | st.sampled_from(Basis))
        said = {"in_force": draw(spans), "notice": draw(notices), "law": "Code", "subjects": draw(classes)}
        terms.append(agreement(name, basis, covers, **said))
    optional = draw(st.sampled_from([["hint"], []]))
    required = ["band"] if optional else ["band", "hint"]
    return terms, flow("f", "schools.tariff.v1", [a.ref for a in terms], required, optional)


def compare(text=TEXT, *, examples=300, find=False):
    """The property; ``find`` is for a bug that is there: no shrinking, no database."""
    phases = [Phase.generate] if find else list(Phase)
    health = list(HealthCheck)

    @settings(
        max_examples=examples, deadline=None, phases=phases, database=None, derandomize=True,
        suppress_health_check=health, report_multiple_bugs=False,
    )  # fmt: skip
    @given(policies(), standings.flatmap(lambda s: st.tuples(st.just(s), moments(s))))
    def readings_agree(policy, case):
        (terms, its_flow), (standing, times) = policy, case
        table = compile_table(terms, [its_flow], CATALOGUE, digest=bytes(32))
        documents = [a.model_dump(mode="json", by_alias=True) for a in terms]
        contract = CATALOGUE.by_type("schools.tariff.v1").schema["fields"]
        oracle = Oracle(its_flow.model_dump(mode="json"), documents, contract, text)
        kept = Standings(decode_standing)
        kept.put(ANN, encode_standing(standing))
        for now_ms in times:
            expected = oracle.ask(standing, now_ms)
            for form in (standing, kept.at(ANN, now_ms, table.about("f"))):
                decision = table.decide("f", form, now_ms)
                assert Opinion(decision.verdict is not Verdict.DENY, decision.withheld) == expected
                assert (decision.reason is Reason.VALID_BASIS) is (decision.verdict is Verdict.PERMIT)

    readings_agree()


def test_the_table_and_cedar_agree():
    compare(examples=300)


@pytest.mark.slow
@pytest.mark.parametrize("policy_id", IDS)
def test_a_cedar_policy_left_out_is_found(policy_id):
    with pytest.raises(AssertionError):
        compare(without(policy_id), examples=FOUND_IN, find=True)


def _valid(*_):
    return Reason.VALID_BASIS


def _any_override(self, standing, now_ms):
    return Reason.VALID_BASIS if any(now_ms < o.until_ms for o in standing.overrides) else Reason.NO_OVERRIDE


def _no_expiry(self, stance, now_ms):
    return CONSENT(self, stance, now_ms - 3 * DAY_MS)


def _one_late(self, standing, now_ms):
    return VALIDITY(self, standing, now_ms - 1)


def _any_needs(self, validity):
    best = Reason.VALID_BASIS in validity
    return OUTCOME(self, (Reason.VALID_BASIS,) * len(validity) if best else validity)


def _always_adult(*_):
    return SubjectClass.ADULT


def _of_age_late(self, now_ms):
    return CLASS_AT(self, now_ms - 1)


def _never_of_age(self, now_ms):
    return SubjectClass.MINOR if self.minor_until_ms is not None else CLASS_AT(self, now_ms)


def _not_protected(self, now_ms):
    its = CLASS_AT(self, now_ms)
    return SubjectClass.ADULT if its is SubjectClass.PROTECTED_ADULT else its


def _protected_first(self, now_ms):
    return CLASS_AT(self, now_ms) if self.protection is None else SubjectClass.PROTECTED_ADULT


def _turns_late(entry, turns, now):
    return PASSED(entry, turns, (int.from_bytes(now) - 1).to_bytes(len(now)))


def _one_turn_only(entry, turns, now):
    return min(1, PASSED(entry, turns, now))


def _forgetful(self, about, view, which):
    return ALIKE(self, frozenset(sorted(about)[:1]), view, which)


CONSENT, VALIDITY, CLASS_AT = CompiledAgreement._consent, CompiledAgreement.validity, Standing.class_at
OUTCOME, PASSED = decide.CompiledFlow.outcome, kept_standings._passed
ALIKE = kept_standings.Standings._alike
BUGS = {
    "an override is not asked for": (CompiledAgreement, "_override", _valid),
    "an override opens more than it names": (CompiledAgreement, "_override", _any_override),
    "consent is not asked for": (CompiledAgreement, "_consent", _valid),
    "a consent never ends": (CompiledAgreement, "_consent", _no_expiry),
    "all is a millisecond late": (CompiledAgreement, "validity", _one_late),
    "a restriction leaves every consent": (CompiledAgreement, "_given_since", lambda *_: True),
    "any notice will do": (Notice, "accepts", lambda *_: True),
    "one valid agreement is enough": (decide.CompiledFlow, "outcome", _any_needs),
    "an objection is not heard": (Basis, "can_be_objected", False),
    "everybody is an adult": (Standing, "class_at", _always_adult),
    "an 18th birthday is a millisecond late": (Standing, "class_at", _of_age_late),
    "a minor never comes of age": (Standing, "class_at", _never_of_age),
    "protection is not seen": (Standing, "class_at", _not_protected),
    "a protected minor is an adult": (Standing, "class_at", _protected_first),
    "what is kept turns a millisecond late": (kept_standings, "_passed", _turns_late),
    "what is kept turns but once": (kept_standings, "_passed", _one_turn_only),
    "what is kept forgets agreements": (kept_standings.Standings, "_alike", _forgetful),
}


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS)
def test_a_broken_rule_of_the_table_is_found(bug, monkeypatch):
    monkeypatch.setattr(*BUGS[bug])
    with pytest.raises(AssertionError):
        compare(examples=FOUND_IN, find=True)


@pytest.mark.slow
def test_a_remembered_decision_that_outlives_its_agreement_is_found(monkeypatch):
    monkeypatch.setattr(decide.CompiledFlow, "span_ms", lambda *_: (-(2**63), 2**63 - 1))
    with pytest.raises(AssertionError):
        compare(examples=FOUND_IN, find=True)
