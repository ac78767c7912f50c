"""A receipt is RDF that holds every mandatory field of ISO/IEC TS 27560, in both languages, for every agreement."""

import json
from itertools import product
from pathlib import Path

import pytest
from rdflib import DCTERMS, RDF, SKOS, Graph, Literal, Namespace, URIRef
from rdflib.plugins.sparql import prepareQuery

from passerelle.city.manifest import Manifest
from passerelle_consent.policy.agreements import Basis
from passerelle_consent.policy.standing import Actor, State
from passerelle_consent.receipts.document import Event, Issue, receipt_of
from passerelle_consent.receipts.terms import EXPLICIT, LASTS, OBJECTION, STATUS
from passerelle_consent.receipts.told import STATES, brief, told

MANIFEST = Manifest.load(Path(__file__).parents[3] / "deploy/city.yaml")
BUNDLE = MANIFEST.policy_bundle()
AGREEMENTS = BUNDLE.agreements
ISSUE = Issue(controller=MANIFEST.data_controller(), catalogue=BUNDLE.catalogue, policy=BUNDLE.digest)
"""The demonstration city, as its consent service writes receipts."""

DPV = Namespace("https://w3id.org/dpv#")
GDPR = Namespace("https://w3id.org/dpv/legal/eu/gdpr#")
SCHEMA = Namespace("https://schema.org/")
PREFIXES = {"dpv": DPV, "dct": DCTERMS, "schema": SCHEMA, "skos": SKOS, "rdf": RDF}

RECORD = "?r a dpv:ConsentReceipt ; dpv:hasRecordOfActivity ?c . ?c a dpv:ConsentRecord"
PROCESS = f"{RECORD} ; dpv:hasProcess ?p . ?p a dpv:Process"
STORAGE = f"{PROCESS} ; dpv:hasStorageCondition ?s"
EVENT = f"{RECORD} ; dpv:hasConsentStatus ?e"
NAMED = "dpv:hasIdentifier ?id ; dpv:hasName ?n ; dpv:hasAddress ?a ; dpv:hasContact ?m"
MANDATORY = {
    "receipt: schema version": ("?x a dpv:ConsentReceipt", "?x dct:conformsTo ?v"),
    "receipt: identifier": ("?x a dpv:ConsentReceipt", "?x dct:identifier ?v"),
    "receipt: issued at": ("?x a dpv:ConsentReceipt", "?x dct:created ?v"),
    "header: schema version": (RECORD.replace("?c", "?x"), "?x dct:conformsTo ?v"),
    "header: identifier": (RECORD.replace("?c", "?x"), "?x dct:identifier ?v"),
    "header: principal": (f"{RECORD} ; dpv:hasDataSubject ?x", "?x a dpv:DataSubject ; dct:identifier ?v"),
    "processing: notice": (f"{RECORD} ; dpv:hasNotice ?x", "?x schema:version ?v ; dct:description ?d"),
    "processing: language": (RECORD.replace("?c", "?x"), "?x dct:language ?v"),
    "processing: purpose": (f"{PROCESS} ; dpv:hasPurpose ?x", "?x a dpv:Purpose ; dct:description ?d"),
    "processing: purpose type": (f"{PROCESS} ; dpv:hasPurpose ?x", "?x skos:broader ?v"),
    "processing: lawful basis": (f"{PROCESS} ; dpv:hasLegalBasis ?x", "?x a dpv:LegalBasis ; skos:broader ?v"),
    "processing: method": (f"{PROCESS} ; dpv:hasProcessing ?x", ""),
    "processing: collection method": (f"{PROCESS} ; dpv:hasDataSource ?x", "?x a dpv:DataControllerDataSource"),
    "processing: controllers": (f"{RECORD} ; dpv:hasDataController ?x", "?x a dpv:DataController"),
    "processing: storage location": (f"{STORAGE} . ?s a dpv:StorageLocation ; dpv:hasLocation ?x", ""),
    "processing: retention": (f"{STORAGE} . ?s a dpv:StorageDuration ; dpv:hasDuration ?x", ""),
    "processing: location": (f"{PROCESS} ; dpv:hasProcessingCondition ?x", "?x dpv:hasLocation ?v"),
    "processing: jurisdiction": (f"{RECORD} ; dpv:hasJurisdiction ?x", ""),
    "processing: law": (f"{RECORD} ; dpv:hasApplicableLaw ?x", ""),
    "processing: recipients": (f"{PROCESS} ; dpv:hasRecipient ?x", f"?x a dpv:Recipient ; {NAMED}"),
    "processing: withdrawal": (f"{RECORD} ; dpv:hasConsentControl ?x", "?x a ?v ; dpv:hasContact ?m"),
    "processing: rights": (f"{RECORD} ; dpv:hasRight ?x", ""),
    "processing: authority": (f"{RECORD} ; dpv:hasAuthority ?x", "?x dpv:hasName ?n ; schema:url ?u"),
    "data: type": (f"{PROCESS} ; dpv:hasPersonalData ?x", "?x a ?v ; schema:name ?n ; dct:type ?k"),
    "data: need": (f"{PROCESS} ; dpv:hasPersonalData ?x", "?x dpv:hasJustification ?v"),
    "party: each": (f"{RECORD} ; dpv:hasDataController ?x", f"?x {NAMED} ; a ?role"),
    "party: officer": (f"{RECORD} ; dpv:hasDataController ?x", "?x dpv:hasDataProtectionOfficer/dpv:hasContact ?m"),
    "event: time": (EVENT.replace("?e", "?x"), "?x dpv:isIndicatedAtTime ?v"),
    "event: validity": (f"{EVENT} . ?e dpv:hasDuration ?x", "?x a ?v ; rdf:value ?w"),
    "event: by whom": (f"{EVENT} . ?e dpv:isIndicatedBy ?x", "?x a ?v"),
    "event: where": (EVENT.replace("?e", "?x"), "?x dpv:isExercisedAt ?v"),
    "event: state": (EVENT.replace("?e", "?x"), "?x a ?v . FILTER (?v IN (STATES))"),
    "event: type": (EVENT.replace("?e", "?x"), "?x a ?v . FILTER (?v IN (TYPES))"),
}
"""Field of TS 27560, or of the GDPR's profile of it → the nodes that are it, at least one; what each of them has."""


def expanded(term):
    prefix, _, name = term.partition(":")
    return f"<{DPV}{name}>" if prefix == "dpv" else f"<urn:passerelle:vocabulary#{name}>"


def prepared(nodes, held):
    held = held.replace("STATES", ", ".join(map(expanded, STATUS.values())))
    held = held.replace("TYPES", ", ".join(map(expanded, (EXPLICIT, OBJECTION))))
    lacking = f"{nodes} . FILTER NOT EXISTS {{ {held} }}" if held else "?x a dpv:Nothing"
    return [prepareQuery(f"SELECT ?x WHERE {{ {where} }}", initNs=PREFIXES) for where in (nodes, lacking)]


QUERIES = {field: prepared(nodes, held) for field, (nodes, held) in MANDATORY.items()}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a receipt is read without fetching anything")

    monkeypatch.setattr("urllib.request.OpenerDirector.open", refuse)


def event(state, **other):
    said = {"id": bytes(range(16)), "subject": "ab" * 16, "portal": "citizen-desk", "state": state, "at_ms": 1_777_777}
    rest = {"until_ms": None, "acknowledged_ms": None, "by": Actor.SUBJECT, "department": "citizen-desk", "notice": 1}
    return Event(**{**said, **rest, **other})


def receipt(state, agreement, language="fr", **other):
    return receipt_of(event(state, **other), agreement, ISSUE, language=language, now_ms=1_777_778)


def graph(document):
    return Graph().parse(data=json.dumps(document), format="json-ld")


def status_of(document):
    return document["dpv:hasRecordOfActivity"]["dpv:hasConsentStatus"]


def states_of(agreement):
    about_objection = [State.OBJECTED, State.RESUMED]
    if agreement.basis is Basis.CONSENT:
        return sorted(set(State) - set(about_objection) - {State.UNKNOWN})
    return about_objection if agreement.basis.can_be_objected else [State.UNKNOWN]


def lacking(read):
    for field, (nodes, without) in QUERIES.items():
        if not list(read.query(nodes)) or list(read.query(without)):
            yield field


@pytest.mark.parametrize("agreement", AGREEMENTS, ids=lambda agreement: agreement.ref)
def test_every_mandatory_field_is_there_for_every_agreement_of_the_city(agreement):
    for state, language in zip(states_of(agreement), ("fr", "en") * len(State), strict=False):
        assert not list(lacking(graph(receipt(state, agreement, language)))), (state, language)


@pytest.mark.parametrize("by", Actor)
@pytest.mark.parametrize("until_ms", [None, 1_999_999])
def test_every_mandatory_field_is_there_whoever_spoke_and_however_long_it_holds(by, until_ms):
    for agreement in {a.basis: a for a in AGREEMENTS}.values():
        said = graph(receipt(states_of(agreement)[0], agreement, by=by, until_ms=until_ms, acknowledged_ms=1_777_900))
        assert not list(lacking(said))


def test_a_field_that_is_taken_away_is_missed():
    whole = graph(receipt(State.GIVEN, AGREEMENTS[0]))
    for property_ in {*whole.predicates()} - {SKOS.broader, RDF.type}:
        without = Graph() + whole
        without.remove((None, property_, None))
        optional = "ledger" in property_ or "policy" in property_ or "sha256" in property_ or "recipient" in property_
        assert optional or property_ in (DCTERMS.publisher, DCTERMS.references) or list(lacking(without)), property_


@pytest.mark.parametrize("agreement", AGREEMENTS, ids=lambda agreement: agreement.ref)
def test_nothing_is_said_about_terms_that_are_not_ours(agreement):
    for subject in graph(receipt(states_of(agreement)[0], agreement)).subjects():
        assert not str(subject).startswith("https://w3id.org/"), subject


def test_each_department_answers_for_itself():
    parties = {
        str(party): contact
        for agreement in AGREEMENTS
        for party, contact in graph(receipt(states_of(agreement)[0], agreement)).subject_objects(DPV.hasContact)
    }
    departments = {a.source for a in AGREEMENTS} | {a.recipient for a in AGREEMENTS}
    contacts = {parties[f"urn:passerelle:department:{d}"] for d in departments}
    assert len(contacts) == len(departments)
    read = graph(receipt(State.GIVEN, next(a for a in AGREEMENTS if a.recipient == "social-action")))
    officer = read.value(URIRef("urn:passerelle:department:social-action"), DPV.hasDataProtectionOfficer)
    assert read.value(officer, DPV.hasContact) == Literal("dpo.ccas@lutece.example")


def test_data_of_another_department_is_told_as_article_14_wants_it():
    for agreement in AGREEMENTS:
        rights = set(graph(receipt(states_of(agreement)[0], agreement)).objects(None, DPV.hasRight))
        assert GDPR.A14 in rights
        assert GDPR.A13 not in rights


def test_what_no_date_ends_says_what_does():
    consent = next(a for a in AGREEMENTS if a.basis is Basis.CONSENT)
    open_ended = status_of(receipt(State.GIVEN, consent))["dpv:hasDuration"]
    assert open_ended["@type"] == "dpv:UntilEventDuration"
    assert open_ended["rdf:value"]["@value"] == "jusqu’à ce que vous le retiriez"
    dated = status_of(receipt(State.GIVEN, consent, until_ms=1_777_900))["dpv:hasDuration"]
    assert dated["@type"] == "dpv:UntilTimeDuration"
    assert dated["rdf:value"]["@value"] == "1970-01-01T00:29:37.900Z"


def test_words_are_in_the_language_that_was_asked_for():
    for language in ("fr", "en"):
        read = graph(receipt(State.GIVEN, AGREEMENTS[0], language))
        tagged = {word.language for word in read.objects() if getattr(word, "language", None)}
        assert tagged == {language}


def test_every_state_has_its_status_its_end_and_its_words():
    assert set(STATUS) == set(LASTS) == set(State)
    assert set(STATES) == set(STATUS.values())


@pytest.mark.parametrize(("written", "language"), product(("fr", "en"), repeat=2))
def test_a_receipt_is_told_in_either_language_whatever_it_was_written_in(written, language):
    for agreement in AGREEMENTS:
        for state in states_of(agreement):
            document = receipt(state, agreement, written, until_ms=1_999_999, acknowledged_ms=1_777_900)
            lines = told(document, language)
            lawless, uncontrolled = agreement.law is None, not agreement.basis.can_be_objected
            absent = lawless + (uncontrolled and agreement.basis is not Basis.CONSENT)
            assert len(lines) == 21 - absent, lines
            assert set(brief(document, language)) <= set(lines)


def test_a_receipt_of_another_layout_is_told_as_far_as_it_goes():
    assert told({"@type": "dpv:ConsentReceipt", "dct:identifier": "ab"}, "fr") == [("Par", "vous"), ("Reçu", "ab")]
    odd = {"dpv:hasRecordOfActivity": {"dpv:hasProcess": 5, "dpv:hasConsentStatus": {"@type": [{}, "x"]}}}
    assert told(odd, "en") == [("By", "you")]


def test_a_withdrawal_names_the_instant_from_which_nothing_more_was_delivered():
    consent = next(a for a in AGREEMENTS if a.basis is Basis.CONSENT)
    status = status_of(receipt(State.WITHDRAWN, consent, acknowledged_ms=1_777_900))
    assert status["passerelle:inEffectAt"]["@value"] == "1970-01-01T00:29:37.900Z"
    assert "passerelle:inEffectAt" not in json.dumps(receipt(State.GIVEN, consent))


def test_special_categories_are_marked_and_name_their_basis():
    frail = next(a for a in AGREEMENTS if a.id == "heat-plan")
    read = graph(receipt(State.GIVEN, frail))
    assert list(read.subjects(RDF.type, DPV.SpecialCategoryPersonalData))
    assert GDPR[f"A{frail.special_category}"] in set(read.objects(None, SKOS.broader))


def test_the_words_of_a_notice_that_is_no_longer_the_current_one_are_not_put_into_its_mouth():
    consent = next(a for a in AGREEMENTS if a.basis is Basis.CONSENT)
    notice = receipt(State.GIVEN, consent, notice=99)["dpv:hasRecordOfActivity"]["dpv:hasNotice"]
    assert notice["schema:version"] == "99"
    assert "dct:description" not in notice
