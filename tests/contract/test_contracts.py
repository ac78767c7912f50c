"""Contracts, flows and agreements are data, and this is what the data must say."""

import re
from datetime import date
from pathlib import Path

import pytest
import yaml

from passerelle_consent.policy.agreements import Basis
from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_consent.policy.decide import Verdict
from passerelle_consent.policy.standing import Stance, Standing, State
from passerelle_schemas.catalogue import Catalogue, Contract

ROOT = Path(__file__).parents[2]
CONTRACTS = ROOT / "schemas" / "contracts"
BUNDLE = PolicyBundle.load(CONTRACTS, ROOT / "schemas" / "flows", ROOT / "consent" / "agreements")
CATALOGUE = Catalogue.load(CONTRACTS)
FLOWS = {flow.id: flow for flow in BUNDLE.flows}
AGREEMENTS = {agreement.ref: agreement for agreement in BUNDLE.agreements}
TODAY = date(2026, 11, 23)
NOW_MS = 1_795_435_200_000

CLASSES = {"operational", "location", "personal", "contact", "family", "financial", "minor", "health"}
LOCKED = {
    "citizen-desk.report-filed.v1": 1,
    "civil-registry.address-changed.v1": 2,
    "civil-registry.household-changed.v1": 3,
    "civil-registry.birth-registered.v1": 4,
    "tax.income-assessed.v1": 5,
    "social-action.frail-registered.v1": 6,
    "social-action.disability-badge-issued.v1": 7,
    "tax.taxpayer-moved.v1": 8,
    "schools.pupil-moved.v1": 9,
    "cleanliness.new-resident.v1": 10,
    "schools.meal-tariff.v1": 11,
    "nursery.birth-offer.v1": 12,
    "schools.birth-forecast.v1": 13,
}

contracts = pytest.mark.parametrize("contract", list(CATALOGUE), ids=lambda c: c.type)
flows = pytest.mark.parametrize("flow", list(FLOWS.values()), ids=lambda f: f.id)
agreements = pytest.mark.parametrize("agreement", list(AGREEMENTS.values()), ids=lambda a: a.ref)


@contracts
def test_contract_says_who_owns_it_in_two_languages(contract: Contract):
    assert contract.owner == contract.department == contract.type.split(".")[0]
    assert contract.description.fr != contract.description.en
    for field in contract.schema["fields"]:
        said = field["passerelle.description"]
        assert said["fr"].strip().endswith(".")
        assert said["en"].strip().endswith(".")


@contracts
def test_every_field_has_a_class(contract: Contract):
    assert set(contract.classes) == set(contract.fields)
    assert set(contract.classes.values()) <= CLASSES


@contracts
def test_example_survives_the_round_trip(contract: Contract):
    encoded = contract.encode(contract.example)
    read = contract.decode(encoded)
    assert contract.encode(read) == encoded
    assert set(contract.example) == set(contract.fields)
    assert CATALOGUE.decode(encoded)[0].type == contract.type


@contracts
def test_what_may_be_null_starts_as_null(contract: Contract):
    for field in contract.schema["fields"]:
        if isinstance(field["type"], list):
            assert field["type"][0] == "null"
            assert field["default"] is None
        else:
            assert "default" not in field


@contracts
def test_no_payload_names_the_person_or_repeats_the_key(contract: Contract):
    forbidden = re.compile(r"subject|pseudonym|birth_name|family_name|given_name|social_security|^key$")
    assert not [f for f in contract.fields if forbidden.search(f)]
    named = [f for f in contract.fields if f.endswith("name")]
    assert set(named) <= {"reporter_name"}, "the reporter's name is the only one, and needs consent"


def test_ids_are_locked_for_ever():
    found = {contract.type: contract.schema_id for contract in CATALOGUE}
    assert {t: found.get(t) for t in LOCKED} == LOCKED
    assert len(set(found.values())) == len(found)


@contracts
def test_no_orphan(contract: Contract):
    """An event is delivered by a flow, or is the source of one that is."""
    delivered = {flow.event for flow in FLOWS.values()}
    if contract.derived:
        assert contract.type in delivered
        assert all(flow.recipient == contract.department for flow in FLOWS.values() if flow.event == contract.type)
    else:
        used = {s.partition("#")[0] for type_ in delivered for s in _sources(type_)}
        assert contract.type in used


def _sources(type_: str) -> set[str]:
    return {source for sources in CATALOGUE.by_type(type_).sources.values() for source in sources}


@contracts
def test_sources_of_derived_fields_exist(contract: Contract):
    if not contract.derived:
        return
    for field in contract.schema["fields"]:
        assert field["passerelle.from"], f"{field['name']} does not say where it comes from"
    for source in _sources(contract.type):
        type_, _, field = source.partition("#")
        assert field in CATALOGUE.by_type(type_).fields


@contracts
def test_a_field_copied_from_one_source_keeps_its_type_and_class(contract: Contract):
    if not contract.derived or contract.type == "schools.birth-forecast.v1":
        return
    for field in contract.schema["fields"]:
        if len(field["passerelle.from"]) == 1:
            type_, _, name = field["passerelle.from"][0].partition("#")
            source = next(f for f in CATALOGUE.by_type(type_).schema["fields"] if f["name"] == name)
            assert (field["type"], field["passerelle.class"]) == (source["type"], source["passerelle.class"])


@flows
def test_flow_lists_each_field_once_and_its_agreements_are_its_own(flow):
    contract = CATALOGUE.by_type(flow.event)
    assert sorted([*flow.required, *flow.optional]) == sorted(contract.fields)
    assert set(flow.optional) <= contract.nullable
    for ref in flow.agreements:
        agreement = AGREEMENTS[ref]
        assert (agreement.recipient, agreement.purpose.code) == (flow.recipient, flow.purpose)
        assert any(agreement.covers(source) for source in _sources(flow.event)), f"{ref} is for nothing here"


@agreements
def test_agreement_covers_what_exists_and_nothing_that_no_flow_uses(agreement):
    used = {s for f in FLOWS.values() if agreement.ref in f.agreements for s in _sources(f.event)}
    for type_, coverage in agreement.events.items():
        contract = CATALOGUE.by_type(type_)
        assert contract.department == agreement.source
        assert set(coverage.fields) <= set(contract.fields)
        assert {f"{type_}#{field}" for field in coverage.fields} <= used


@agreements
def test_agreement_is_signed_by_three_in_force_and_reviewed_within_two_years(agreement):
    assert len(agreement.signed) == 3
    assert all(signature.on <= agreement.in_force.from_ for signature in agreement.signed)
    assert agreement.in_force.from_ <= TODAY < agreement.review < date(2028, 11, 23)


@agreements
def test_law_and_special_category_where_they_are_due(agreement):
    if agreement.basis in (Basis.PUBLIC_TASK, Basis.LEGAL_OBLIGATION, Basis.VITAL_INTERESTS):
        assert "article" in agreement.law
    if agreement.basis is Basis.CONSENT:
        assert agreement.law is None
    sensitive = {CATALOGUE.by_type(t).classes[f] for t, c in agreement.events.items() for f in c.fields}
    badge = agreement.id == "disability-badge"
    assert (agreement.special_category is not None) == ("health" in sensitive or badge)


@agreements
def test_citizen_reads_whole_sentences_in_two_languages(agreement):
    assert agreement.notice.fr.endswith(".")
    assert agreement.notice.en.endswith(".")
    for coverage in agreement.events.values():
        assert all(why.fr.endswith(".") and why.en.endswith(".") for why in coverage.fields.values())


def test_the_flows_of_the_demonstration():
    streets = {f"street-report.{d}" for d in ("cleanliness", "roads", "parks", "lighting", "police", "social-action")}
    others = {
        "move.tax", "move.schools", "move.cleanliness", "meal-tariff.schools", "birth.nursery", "birth.schools",
        "heat-plan.emergency-desk", "disability-badge.police",
    }  # fmt: skip
    assert set(FLOWS) == streets | others


def _given(*agreements: str) -> Standing:
    return Standing(linked=True, stances={a: _stance(a, State.GIVEN) for a in agreements})


def _stance(agreement: str, state: State) -> Stance:
    return Stance(agreement=agreement, state=state, notice=1, at_ms=NOW_MS - 1)


@pytest.mark.parametrize(
    ("flow", "standing", "verdict"),
    [
        ("street-report.roads", Standing(linked=True), Verdict.REDACT),
        ("street-report.roads", _given("street-contact-roads"), Verdict.PERMIT),
        ("street-report.parks", _given("street-contact-roads"), Verdict.REDACT),
        ("move.tax", Standing(linked=True), Verdict.PERMIT),
        ("move.schools", Standing(linked=True), Verdict.DENY),
        ("move.schools", _given("move-schools"), Verdict.PERMIT),
        ("move.cleanliness", Standing(linked=True), Verdict.PERMIT),
        (
            "move.cleanliness",
            Standing(linked=True, stances={"move-cleanliness": _stance("move-cleanliness", State.OBJECTED)}),
            Verdict.DENY,
        ),
        ("meal-tariff.schools", _given("meal-tariff-household"), Verdict.DENY),
        ("meal-tariff.schools", _given("meal-tariff-household", "meal-tariff-income"), Verdict.PERMIT),
        ("birth.nursery", Standing(linked=True), Verdict.DENY),
        ("heat-plan.emergency-desk", _given("heat-plan"), Verdict.DENY),
        ("disability-badge.police", Standing(linked=True), Verdict.PERMIT),
        ("disability-badge.police", Standing(linked=False), Verdict.DENY),
    ],
)
def test_what_the_city_meant(flow, standing, verdict):
    assert BUNDLE.table().decide(flow, standing, NOW_MS).verdict is verdict


def test_a_report_without_consent_loses_the_whole_contact_and_nothing_else():
    decision = BUNDLE.table().decide("street-report.police", Standing(linked=True), NOW_MS)
    assert decision.withheld == ("reporter_name", "reporter_email", "reporter_phone")


def test_the_schools_never_learn_an_income():
    classes = {f: c for flow in FLOWS.values() if flow.recipient == "schools" for f, c in _classes(flow.event).items()}
    assert [f for f, c in classes.items() if c == "financial"] == ["tariff_band"]


def _classes(type_: str) -> dict[str, str]:
    return dict(CATALOGUE.by_type(type_).classes)


def test_files_stand_where_their_ids_say():
    for path in (ROOT / "schemas" / "flows").glob("*.yaml"):
        assert yaml.safe_load(path.read_text())["id"] == path.stem
    stray = [p for p in CONTRACTS.rglob("*") if p.is_file() and p.suffix not in (".avsc", ".md", ".yaml")]
    assert stray == []
