"""Receipts over HTTP."""

import pytest

from passerelle.receipt_keys import keep
from passerelle_consent.receipts.keys import KeySet
from passerelle_consent.receipts.seal import Seal, open_sealed
from unit.records.fakes import SEAL, City, citizen


def slug(answer):
    return answer.json()["type"].rpartition(":")[2]


async def published(city, path="/v1/keys"):
    """The keys as anybody gets them."""
    return KeySet.read((await city.call("GET", path, None, token=None)).text)


async def given(city, action="give"):
    (pseudonym,) = await city.link("Durand")
    said = await city.say("give", pseudonym)
    if action == "withdraw":
        said = await city.say("withdraw", pseudonym)
    return pseudonym, f"/v1/subjects/{pseudonym}/changes/{said.json()['acknowledgement']}/receipt"


async def test_a_citizen_takes_a_receipt_along_and_anybody_checks_it(city):
    pseudonym, path = await given(city)
    answer = await city.call("GET", f"{path}?lang=en", None, citizen(pseudonym))
    assert answer.headers["content-type"] == "application/jose"
    receipt = open_sealed(answer.text, await published(city))
    record = receipt["dpv:hasRecordOfActivity"]
    assert "dpv:ConsentGiven" in record["dpv:hasConsentStatus"]["@type"]
    assert record["dpv:hasDataSubject"]["@id"].endswith(pseudonym)
    assert receipt["dct:publisher"]["dpv:hasName"] == {"@language": "en", "@value": "City of Lutetia"}


async def test_a_receipt_outlives_the_key_that_signed_it(store_url, tmp_path):
    file, old = tmp_path / "receipts.jwks", Seal.of(b"the seal of the years before ...")
    keep(old, file)
    city = City(store_url, receipt_keys=keep(SEAL, file))
    await city.up()
    keys = await published(city)
    pseudonym, path = await given(city)
    answer = await city.call("GET", path, None, citizen(pseudonym))
    receipt = open_sealed(answer.text, keys)
    assert open_sealed(old.sign(receipt), keys) == receipt
    await city.down()


async def test_a_withdrawal_says_from_when_nothing_more_was_delivered(city):
    pseudonym, path = await given(city, "withdraw")
    answer = await city.call("GET", path, None, citizen(pseudonym), accept="application/ld+json")
    assert answer.headers["content-type"] == "application/ld+json"
    status = answer.json()["dpv:hasRecordOfActivity"]["dpv:hasConsentStatus"]
    assert "dpv:ConsentWithdrawn" in status["@type"]
    assert status["passerelle:inEffectAt"]["@value"]


@pytest.mark.parametrize(
    ("query", "accepted", "language"),
    [
        ("", None, "fr"),
        ("", "en", "en"),
        ("", "en-GB,en;q=0.9,fr;q=0.8", "en"),
        ("", "fr-CA, en;q=0.9", "fr"),
        ("", "de, en;q=0.3", "en"),
        ("", "de, *;q=0.3", "fr"),
        ("", "fr;q=0, *", "en"),
        ("", "EN ; q=1.000 , fr;q=0.999", "en"),
        ("", "ja", "fr"),
        ("", "en;q=2", "fr"),
        ("", "%%,;;q=", "fr"),
        ("?lang=fr", "en", "fr"),
        ("?lang=en", "fr", "en"),
    ],
)
async def test_a_receipt_is_in_the_language_that_is_wanted_most_and_else_in_french(city, query, accepted, language):
    pseudonym, path = await given(city)
    headers = {"accept": "application/ld+json", **({} if accepted is None else {"accept_language": accepted})}
    answer = await city.call("GET", f"{path}{query}", None, citizen(pseudonym), **headers)
    assert answer.json()["dct:language"] == answer.headers["content-language"] == language
    assert "Accept-Language" in answer.headers["vary"]


async def test_nobody_takes_a_receipt_of_somebody_else(city):
    _, path = await given(city)
    (other,) = await city.link("Martin")
    assert slug(await city.call("GET", path, None, citizen(other))) == "not-your-pseudonym"
    change = path.split("/")[-2]
    own = f"/v1/subjects/{other}/changes/{change}/receipt"
    assert slug(await city.call("GET", own, None, citizen(other))) == "unknown-change"


async def test_an_export_holds_all_that_was_said_each_with_a_receipt_that_verifies(city):
    pseudonym, _ = await given(city, "withdraw")
    path = f"/v1/subjects/{pseudonym}/restriction"
    await city.call("POST", path, {"ground": "18-1-a"}, citizen(pseudonym))
    answer = await city.call("GET", f"/v1/subjects/{pseudonym}/export?lang=en", None, citizen(pseudonym))
    assert "attachment" in answer.headers["content-disposition"]
    export = answer.json()
    assert [c["said"]["kind"] for c in export["changes"]] == ["restricted", "withdraw", "give"]
    assert export["complete"]
    restricted, *about_agreements = export["changes"]
    assert restricted["receipt"] is None
    keys = await published(city, export["keys"])
    receipts = [open_sealed(c["receipt"], keys) for c in about_agreements]
    states = [r["dpv:hasRecordOfActivity"]["dpv:hasConsentStatus"]["@type"][0] for r in receipts]
    assert states == ["dpv:ConsentWithdrawn", "dpv:ConsentGiven"]
    assert export["disclosures"] == f"/v1/subjects/{pseudonym}/disclosures"


async def test_the_notice_that_a_receipt_names_is_found_where_it_says(city):
    pseudonym, path = await given(city)
    receipt = (await city.call("GET", path, None, citizen(pseudonym), accept="application/ld+json")).json()
    notice = receipt["dpv:hasRecordOfActivity"]["dpv:hasNotice"]
    where = notice["@id"].removeprefix("https://consentement.lutece.example")
    shown = (await city.call("GET", where, None, token=None)).json()
    assert shown["words"]["fr"] == notice["dct:description"]["@value"]
    assert shown["sha256_fr"] == notice["passerelle:sha256"]
    assert slug(await city.call("GET", "/v1/notices/moves-to-tax/1", None, token=None)) == "unknown-version"
