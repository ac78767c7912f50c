"""The public register over HTTP: searched, in pages, conditional, as JSON and as JSON-LD."""

from dataclasses import replace
from pathlib import Path

import pytest
from rdflib import DCTERMS, RDF, SKOS, Graph, Literal, Namespace

from passerelle.city.manifest import Manifest
from passerelle_consent.policy.lock import digest_of
from unit.records import fakes
from unit.records.fakes import AGREEMENTS, City

PROJECT = Path(__file__).parents[3]
DPV = Namespace("https://w3id.org/dpv#")


def slug(answer):
    return answer.json()["type"].rpartition(":")[2]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["frail-to-emergency", "moves-to-cleanliness", "moves-to-schools", "moves-to-tax", "old-consent"]),
        ("?basis=6-1-e", ["moves-to-cleanliness"]),
        ("?recipient=schools", ["moves-to-schools"]),
        ("?source=tax", []),
        ("?search=FRAIL", ["frail-to-emergency"]),
        ("?in_force_on=2026-03-01&recipient=tax", ["moves-to-tax"]),
    ],
)
async def test_anybody_searches_the_register(city, query, found):
    answer = await city.call("GET", f"/v1/agreements{query}", None, token=None)
    assert [a["id"] for a in answer.json()["agreements"]] == found
    assert "max-age" in answer.headers["cache-control"]


async def test_the_register_comes_in_pages(city):
    seen, path = [], "/v1/agreements?limit=2"
    while path:
        answer = await city.call("GET", path, None, token=None)
        seen += [a["id"] for a in answer.json()["agreements"]]
        path = answer.links.get("next", {}).get("url")
    assert len(seen) == len(set(seen)) == 5


async def test_a_version_is_shown_as_it_was_signed(city):
    shown = (await city.call("GET", "/v1/agreements/moves-to-tax/versions/1", None, token=None)).json()
    assert (shown["agreement"], shown["versions"]) == ("moves-to-tax@1", [1])
    assert shown["signed"]["notice"]["version"] == 3
    assert (await city.call("GET", "/v1/agreements/moves-to-tax", None, token=None)).json() == shown
    assert slug(await city.call("GET", "/v1/agreements/moves-to-tax/versions/9", None, token=None)) == "unknown-version"
    assert slug(await city.call("GET", "/v1/agreements/none", None, token=None)) == "unknown-agreement"


async def test_flows_are_public(city):
    assert (await city.call("GET", "/v1/flows", None, token=None)).json() == {"flows": []}


async def test_fields_are_said_in_the_contracts_words(store_url):
    """For people: what the source gives under an agreement, and what of it reaches the recipient."""
    bundle = Manifest.load(PROJECT / "deploy/city.yaml").policy_bundle()
    city = City(store_url, bundle=bundle, catalogue=bundle.catalogue)
    await city.up()
    try:
        listed = (await city.call("GET", "/v1/agreements?search=income", None, token=None)).json()["agreements"]
        flows = (await city.call("GET", "/v1/flows", None, token=None)).json()["flows"]
    finally:
        await city.down()
    (tariff,) = (f for f in flows if f["id"] == "meal-tariff.schools")
    (income,) = (a for a in listed if a["id"] == "meal-tariff-income")
    assert income["described"].keys() == {"tax.income-assessed.v1#reference_income_cents"}
    assert income["retention"] == "P12M"
    assert tariff["described"]["tariff_band"]["en"] == "One letter, from A (the cheapest) to G."


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?department=tax", ["moves-to-tax", "old-consent"]),
        ("?department=civil-registry&basis=6-1-d", ["frail-to-emergency"]),
        ("?purpose=dpv:ServiceProvision&recipient=tax", ["moves-to-tax", "old-consent"]),
        ("?purpose=serviceprovision&recipient=schools", ["moves-to-schools"]),
        ("?purpose=ServiceProv", []),
        ("?purpose=cantine", ["old-consent"]),
    ],
)
async def test_the_register_is_searched_by_purpose_and_by_department(store_url, query, found):
    *others, old = AGREEMENTS
    named = old.purpose.model_copy(update={"fr": "Tarif de la cantine"})
    city = City(store_url, agreements=[*others, old.model_copy(update={"purpose": named})])
    await city.up()
    answer = await city.call("GET", f"/v1/agreements{query}", None, token=None)
    assert [a["id"] for a in answer.json()["agreements"]] == found
    await city.down()


REGISTER = ["/v1/agreements?limit=2", "/v1/agreements/moves-to-tax", "/v1/agreements/moves-to-tax/versions/1"]


@pytest.mark.parametrize("path", [*REGISTER, "/v1/flows", "/v1/notices/moves-to-tax/3"])
async def test_who_has_the_register_already_is_told_so(city, path):
    first = await city.call("GET", path, None, token=None)
    tag = first.headers["etag"]
    for known in (tag, f'"other", W/{tag}', "*"):
        again = await city.call("GET", path, None, token=None, If_None_Match=known)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    for other in ('"other"', tag.strip('"'), f'"{tag[2:]}'):
        assert (await city.call("GET", path, None, token=None, If_None_Match=other)).status_code == 200


async def test_the_tag_of_a_version_is_its_digest_in_the_lock_and_changes_with_the_policy(store_url, city):
    path = REGISTER[2]
    shown = await city.call("GET", path, None, token=None)
    digest = digest_of(next(a for a in AGREEMENTS if a.id == "moves-to-tax"))
    assert shown.json()["digest"] == digest
    assert shown.headers["etag"].startswith(f'"{digest}.')
    await city.down()
    later = City(store_url, agreements=AGREEMENTS[:-1])
    await later.up()
    again = await later.call("GET", path, None, token=None, If_None_Match=shown.headers["etag"])
    assert again.status_code == 200
    await later.down()
    await city.up()


@pytest.mark.parametrize("path", REGISTER)
async def test_who_reads_of_the_city_is_told_when_it_changes(city, path, monkeypatch):
    """The linked form names the controller, whom no policy's digest covers."""
    asked = {"token": None, "Accept": "application/ld+json"}
    before = await city.call("GET", path, None, **asked)
    same = await city.call("GET", path, None, **asked, If_None_Match=before.headers["etag"])
    assert same.status_code == 304
    monkeypatch.setattr(fakes, "CONTROLLER", replace(fakes.CONTROLLER, dpo="another@city.example"))
    await city.down()
    await city.up()
    after = await city.call("GET", path, None, **asked, If_None_Match=before.headers["etag"])
    assert after.status_code == 200
    assert after.content != before.content


@pytest.mark.parametrize("path", REGISTER)
async def test_the_register_is_read_by_machines_too(city, path):
    linked = await city.call("GET", path, None, token=None, Accept="application/ld+json", Accept_Language="en")
    plain = await city.call("GET", path, None, token=None)
    assert (linked.headers["content-type"], linked.headers["content-language"]) == ("application/ld+json", "en")
    assert linked.headers["etag"] != plain.headers["etag"]
    assert linked.headers.get("link") == plain.headers.get("link")
    read = Graph().parse(data=linked.text, format="json-ld")
    versions = set(read.subjects(RDF.type, DPV.DataProcessingAgreement))
    shown = plain.json().get("agreements", [plain.json()])
    assert {str(read.value(v, DCTERMS.identifier)) for v in versions} == {a["agreement"] for a in shown}
    for version in versions:
        process = read.value(version, DPV.hasProcess)
        purpose = read.value(process, DPV.hasPurpose)
        assert read.value(purpose, SKOS.broader) == DPV.ServiceProvision
        assert read.value(purpose, DCTERMS.description) == Literal("Service", lang="en")
        assert read.value(process, DPV.hasLegalBasis) is not None
        assert len(list(read.objects(version, DPV.hasDataController))) == 2
