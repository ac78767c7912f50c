"""A receipt is RDF that holds every mandatory field of ISO/IEC TS 27560, in both languages, for every agreement."""

import json
from itertools import product
from pathlib import Path

import pytest
from rdflib import DCTERMS, RDF, Graph, Namespace

from passerelle_consent.policy.agreements import Basis, load_agreements
from passerelle_consent.policy.standing import Actor, State
from passerelle_consent.receipts.document import STATUS, Controller, Event, Issue, receipt_of
from passerelle_consent.receipts.told import STATES, told
from passerelle_schemas.catalogue import Catalogue, Text

PROJECT = Path(__file__).parents[3]
DPV = Namespace("https://w3id.org/dpv#")
SCHEMA = Namespace("https://schema.org/")
AGREEMENTS = load_agreements(PROJECT / "consent/agreements")
ISSUE = Issue(
    controller=Controller(
        name=Text(fr="Ville de Lutèce", en="City of Lutetia"),
        address="1 place de l’Hôtel-de-Ville",
        dpo="dpo@lutece.example",
        privacy="https://lutece.example/donnees",
        consent="https://consentement.lutece.example",
        departments={},
        jurisdiction="FR",
    ),
    catalogue=Catalogue.load(PROJECT / "schemas/contracts"),
    policy=b"p" * 32,
)

MANDATORY = {
    "receipt: schema version": "?r a dpv:ConsentReceipt ; dct:conformsTo ?x",
    "receipt: identifier": "?r a dpv:ConsentReceipt ; dct:identifier ?x",
    "receipt: issued at": "?r a dpv:ConsentReceipt ; dct:created ?x",
    "record: schema version": "?c a dpv:ConsentRecord ; dct:conformsTo ?x",
    "record: identifier": "?c a dpv:ConsentRecord ; dct:identifier ?x",
    "record: principal": "?c a dpv:ConsentRecord ; dpv:hasDataSubject ?x",
    "processing: notice": "?c dpv:hasNotice ?x . ?x schema:version ?v",
    "processing: purpose": "?p a dpv:Process ; dpv:hasPurpose ?x . ?x dct:description ?d",
    "processing: lawful basis": "?p a dpv:Process ; dpv:hasLegalBasis ?x",
    "processing: data": "?p dpv:hasPersonalData ?x . ?x schema:name ?n ; dct:type ?k ; dpv:hasJustification ?j",
    "processing: recipients": "?p dpv:hasRecipient ?x . ?x schema:name ?n",
    "processing: retention": "?p dpv:hasStorageCondition ?s . ?s dpv:hasDuration ?x",
    "processing: jurisdiction": "?c dpv:hasJurisdiction ?x",
    "processing: law": "?c dpv:hasApplicableLaw ?x",
    "processing: withdrawal": "?c dpv:hasConsentControl ?x . ?x schema:email ?m",
    "processing: rights": "?c dpv:hasRight ?x",
    "party: controllers": "?c dpv:hasDataController ?x . ?x schema:name ?n ; schema:address ?a ; schema:email ?m",
    "party: officer": "?r dct:publisher ?o . ?o dpv:hasDataProtectionOfficer ?x . ?x schema:email ?m",
    "event: state": "?c dpv:hasConsentStatus ?s . ?s a ?x",
    "event: time": "?c dpv:hasConsentStatus ?s . ?s dpv:isIndicatedAtTime ?x",
    "event: by whom": "?c dpv:hasConsentStatus ?s . ?s dpv:isIndicatedBy ?x",
}
"""Field of TS 27560 → where it stands."""


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a receipt is read without fetching anything")

    monkeypatch.setattr("urllib.request.OpenerDirector.open", refuse)


def event(state, **other):
    said = {"id": bytes(range(16)), "subject": "ab" * 16, "portal": "citizen-desk", "state": state, "at_ms": 1_777_777}
    return Event(**{**said, "until_ms": None, "acknowledged_ms": None, "by": Actor.SUBJECT, "notice": 1, **other})


def receipt(state, agreement, language="fr", **other):
    return receipt_of(event(state, **other), agreement, ISSUE, language=language, now_ms=1_777_778)


def graph(document):
    return Graph().parse(data=json.dumps(document), format="json-ld")


def states_of(agreement):
    about_objection = {State.OBJECTED, State.RESUMED}
    if agreement.basis is Basis.CONSENT:
        return sorted(set(State) - about_objection - {State.UNKNOWN})
    return sorted(about_objection) if agreement.basis.can_be_objected else []


@pytest.mark.parametrize("language", ["fr", "en"])
def test_every_mandatory_field_is_there_whatever_was_said_about_whatever_agreement(language):
    one_of_each_basis = {a.basis: a for a in AGREEMENTS}
    for agreement in one_of_each_basis.values():
        for state in states_of(agreement):
            read = graph(receipt(state, agreement, language))
            for field, where in MANDATORY.items():
                prefixes = f"PREFIX dpv: <{DPV}> PREFIX dct: <{DCTERMS}> PREFIX schema: <{SCHEMA}>"
                assert list(read.query(f"{prefixes} SELECT ?x WHERE {{ {where} }}")), (agreement.ref, state, field)


def test_words_are_in_the_language_that_was_asked_for():
    for language in ("fr", "en"):
        read = graph(receipt(State.GIVEN, AGREEMENTS[0], language))
        tagged = {word.language for word in read.objects() if getattr(word, "language", None)}
        assert tagged == {language}


def test_every_state_has_its_status_and_its_words():
    assert set(STATUS) == set(State)
    assert set(STATES) == set(STATUS.values())
    for agreement, language in product(AGREEMENTS, ("fr", "en")):
        for state in states_of(agreement):
            assert all(words for _, words in told(receipt(state, agreement, language)))


def test_a_withdrawal_names_the_instant_from_which_nothing_more_was_delivered():
    consent = next(a for a in AGREEMENTS if a.basis is Basis.CONSENT)
    status = receipt(State.WITHDRAWN, consent, acknowledged_ms=1_777_900)["dpv:hasRecordOfActivity"][
        "dpv:hasConsentStatus"
    ]
    assert status["passerelle:inEffectAt"]["@value"] == "1970-01-01T00:29:37.900Z"
    assert "passerelle:inEffectAt" not in json.dumps(receipt(State.GIVEN, consent))


def test_special_categories_are_marked_and_name_their_basis():
    frail = next(a for a in AGREEMENTS if a.id == "heat-plan")
    read = graph(receipt(State.GIVEN, frail))
    assert list(read.subjects(RDF.type, DPV.SpecialCategoryPersonalData))
    assert f"A{frail.special_category}" in json.dumps(receipt(State.GIVEN, frail))


def test_the_words_of_a_notice_that_is_no_longer_the_current_one_are_not_put_into_its_mouth():
    consent = next(a for a in AGREEMENTS if a.basis is Basis.CONSENT)
    notice = receipt(State.GIVEN, consent, notice=99)["dpv:hasRecordOfActivity"]["dpv:hasNotice"]
    assert notice["schema:version"] == "99"
    assert "dct:description" not in notice
