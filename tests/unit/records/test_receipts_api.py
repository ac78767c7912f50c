"""Receipts and exports over HTTP."""

import json
import threading

import pytest

from passerelle.receipt_keys import keep
from passerelle_consent.receipts.keys import KeySet
from passerelle_consent.receipts.seal import Kind, Seal, open_sealed
from passerelle_consent.records import sql
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
    receipt = open_sealed(answer.text, await published(city)).content
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
    assert open_sealed(old.sign(receipt.content), keys) == receipt
    await city.down()


async def test_a_key_that_cannot_be_read_is_told_at_the_start_and_spoils_nothing(store_url, tmp_path, capsys):
    file, broken = tmp_path / "receipts.jwks", {"kty": "OKP", "crv": "Ed25519", "x": "!", "kid": "the broken one"}
    file.write_text(json.dumps({"keys": [broken]}))
    city = City(store_url, receipt_keys=keep(SEAL, file))
    await city.up()
    assert "the broken one" in capsys.readouterr().out
    pseudonym, path = await given(city)
    answer = await city.call("GET", path, None, citizen(pseudonym))
    keys = await published(city)
    assert open_sealed(answer.text, keys)
    assert keys.unreadable() == ("the broken one",)
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


async def exported(city, pseudonym, path=None, **headers):
    """A part of an export, as whoever has the city's keys opens it."""
    answer = await city.call("GET", path or f"/v1/subjects/{pseudonym}/export", None, citizen(pseudonym), **headers)
    assert answer.headers["content-type"] == "application/jose"
    opened = open_sealed(answer.text, await published(city))
    assert opened.kind is Kind.EXPORT
    assert answer.links.get("next", {}).get("url") == opened.content["next"]
    return opened.content


async def test_an_export_is_signed_and_holds_all_that_was_said_each_with_a_receipt_that_verifies(city):
    pseudonym, _ = await given(city, "withdraw")
    path = f"/v1/subjects/{pseudonym}/restriction"
    await city.call("POST", path, {"ground": "18-1-a"}, citizen(pseudonym))
    export = await exported(city, pseudonym, accept_language="en")
    assert [c["said"]["kind"] for c in export["changes"]] == ["restricted", "withdraw", "give"]
    assert (export["complete"], export["next"], export["language"]) == (True, None, "en")
    restricted, *about_agreements = export["changes"]
    assert restricted["receipt"] is None
    keys = await published(city, export["keys"])
    receipts = [open_sealed(c["receipt"], keys).content for c in about_agreements]
    states = [r["dpv:hasRecordOfActivity"]["dpv:hasConsentStatus"]["@type"][0] for r in receipts]
    assert states == ["dpv:ConsentWithdrawn", "dpv:ConsentGiven"]
    assert export["pseudonym"] == pseudonym
    assert export["disclosures"] == f"/v1/subjects/{pseudonym}/disclosures"


async def test_an_export_holds_who_spoke_for_the_citizen_and_what_was_opened(city):
    (pseudonym, guardian) = await city.link("Durand", "Petit")
    registrar = {"scope": "officer", "department": "citizen-desk"}
    appointed = {"relation": "curator", "evidence": "TJ-1", "valid_from": "2026-01-01T00:00:00Z", "guardian": guardian}
    said = await city.call("POST", f"/v1/subjects/{pseudonym}/guardians", appointed, registrar)
    assert said.status_code == 200
    (at_office,) = city.register.pseudonyms("emergency", [city.ref(pseudonym)])
    opened = {"agreements": ["frail-to-emergency"], "reason_code": "heatwave", "hours": 72}
    said = await city.call("POST", f"/v1/subjects/{at_office.hex()}/overrides", opened, "officer")
    assert said.status_code == 200
    export = await exported(city, pseudonym)
    (guardianship,), (override,), (notice,) = export["guardianships"], export["overrides"], export["notices"]
    assert (guardianship["guardian"], guardianship["relation"]) == (guardian, "curator")
    assert (override["recipient"], override["review"]) == ("emergency", None)
    assert "officer" not in json.dumps(override)
    assert notice["code"] == "override-opened"


async def test_what_was_said_under_an_agreement_that_is_kept_no_more_is_exported_without_its_receipt(city):
    pseudonym, path = await given(city)
    await city.say("give", pseudonym, "moves-to-tax", notice=3)
    await city.down()
    city.agreements = [a for a in city.agreements if a.id != "moves-to-schools"]
    await city.up()
    export = await exported(city, pseudonym)
    assert [(c["said"]["agreement"], c["receipt"] is None) for c in export["changes"]] == [
        ("moves-to-tax@1", False),
        ("moves-to-schools@1", True),
    ]
    assert slug(await city.call("GET", path, None, citizen(pseudonym))) == "unknown-agreement"


async def test_an_export_as_bare_json_says_the_same(city):
    pseudonym, _ = await given(city)
    answer = await city.call(
        "GET", f"/v1/subjects/{pseudonym}/export", None, citizen(pseudonym), accept="application/json"
    )
    assert answer.headers["content-type"] == "application/json"
    signed = await exported(city, pseudonym)
    moving = {"exported_at", "changes"}  # the clock, and with it the receipts
    assert {k: v for k, v in answer.json().items() if k not in moving} == {
        k: v for k, v in signed.items() if k not in moving
    }


@pytest.mark.parametrize(("changes", "parts"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)])
async def test_a_long_history_comes_in_parts_and_each_says_whether_it_is_all(city, monkeypatch, changes, parts):
    monkeypatch.setattr("passerelle_consent.records.http.export.PART", 2)
    (pseudonym,) = await city.link("Durand")
    for n in range(changes):
        await city.say("withdraw" if n % 2 else "give", pseudonym)
    found, path = [], None
    while path or not found:
        found.append(await exported(city, pseudonym, path))
        path = found[-1]["next"]
    assert [part["part"] for part in found] == list(range(1, parts + 1))
    assert {part["complete"] for part in found} == {parts == 1}
    said = [c["said"]["acknowledgement"] for part in found for c in part["changes"]]
    assert len(said) == len(set(said)) == changes


@pytest.mark.parametrize("notices", [1, 2, 3])
async def test_a_list_that_was_cut_says_so_and_where_the_rest_is(city, monkeypatch, notices):
    monkeypatch.setattr("passerelle_consent.records.portability.BESIDES_MAX", 2)
    monkeypatch.setattr("passerelle_consent.records.http.export.BESIDES_MAX", 2)
    (pseudonym,) = await city.link("Durand")
    for n in range(notices):
        row = {"id": bytes([n]) * 16, "ref": city.ref(pseudonym), "code": "consent-expired", "agreement": None}
        row |= {"recipient": "tax", "at_ms": n}
        await city.store.write(lambda conn, row=row: conn.execute(sql.INSERT_NOTICE, row))
    export = await exported(city, pseudonym)
    assert len(export["notices"]) == min(notices, 2)
    assert export["complete"] is (notices < 3)
    assert export["cut"] == ({} if notices < 3 else {"notices": f"/v1/subjects/{pseudonym}/notices"})


async def test_a_cursor_of_another_list_leads_into_no_export(city):
    pseudonym, _ = await given(city)
    for cursor, refused in (("AAAA", "bad-cursor"), ("e30=", "bad-cursor")):
        path = f"/v1/subjects/{pseudonym}/export?cursor={cursor}"
        assert slug(await city.call("GET", path, None, citizen(pseudonym))) == refused


async def test_receipts_are_signed_beside_the_event_loop(city, monkeypatch):
    pseudonym, _ = await given(city)
    threads = []
    sign = Seal.sign

    def noted(*args):
        threads.append(threading.current_thread())
        return sign(*args)

    monkeypatch.setattr(Seal, "sign", noted)
    await exported(city, pseudonym)
    assert len(threads) == 2
    assert threading.main_thread() not in threads


async def test_the_notice_that_a_receipt_names_is_found_where_it_says(city):
    pseudonym, path = await given(city)
    receipt = (await city.call("GET", path, None, citizen(pseudonym), accept="application/ld+json")).json()
    notice = receipt["dpv:hasRecordOfActivity"]["dpv:hasNotice"]
    where = notice["@id"].removeprefix("https://consentement.lutece.example")
    shown = (await city.call("GET", where, None, token=None)).json()
    assert shown["words"]["fr"] == notice["dct:description"]["@value"]
    assert shown["sha256_fr"] == notice["passerelle:sha256"]
    assert slug(await city.call("GET", "/v1/notices/moves-to-tax/1", None, token=None)) == "unknown-version"
