"""A consultation over HTTP: an officer asks, citizens answer, an officer reads and answers, anybody checks."""

import hashlib
from pathlib import Path

import pytest

from passerelle_consent.policy.agreements import load_agreements
from passerelle_consent.wire import JournalType
from passerelle_schemas.catalogue import Catalogue
from unit.records.fakes import City, citizen, until

PROJECT = Path(__file__).parents[3]
DAY_MS = 86_400_000
TAX = {"scope": "officer", "department": "tax"}
IN_FORCE = next(a for a in load_agreements(PROJECT / "consent/agreements") if a.id == "meal-tariff-income")
DRAFT = {
    **IN_FORCE.model_dump(mode="json", by_alias=True, exclude_unset=True),
    "version": 2,
    "in_force": {"from": "2026-09-01"},
    "review": "2027-09-01",
}
PATH = "/v1/consultations/meal-tariff-2027"
ANSWER = {"outcome": "amended", "answer": {"fr": "Nous retirons le revenu.", "en": "We drop the income."}}


@pytest.fixture(scope="module")
def catalogue():
    return Catalogue.load(PROJECT / "schemas/contracts")


@pytest.fixture
async def city(store_url, catalogue):
    city = City(store_url, catalogue=catalogue)
    await city.up()
    yield city
    await city.down()


def asked(**other):
    question = {"fr": "Partager la tranche de revenus avec les écoles ?", "en": "Share the income band with schools?"}
    said = {
        "draft": DRAFT,
        "question": question,
        "arguments_for": [{"fr": "Une démarche de moins.", "en": "One form less."}],
        "arguments_against": [{"fr": "Un fichier de plus.", "en": "One more file."}],
        "opens": "2026-05-02T00:00:00+02:00",
        "closes": "2026-06-02T00:00:00+02:00",
    }
    return {**said, **other}


async def published(city):
    answer = await city.call("PUT", PATH, asked(), TAX)
    assert answer.status_code == 200, answer.text
    city.clock.now_ms += 2 * DAY_MS
    return answer.json()


def slug(answer):
    return answer.json()["type"].rpartition(":")[2]


async def test_it_is_read_without_a_token_and_stands_as_it_was_published(city):
    out = await published(city)
    shown = (await city.call("GET", PATH, None, token=None)).json()
    assert (shown["phase"], shown["voices"], shown["result"]) == ("open", None, None)
    assert shown["published"] == out["published"]
    assert shown["described"]["tax.income-assessed.v1#reference_income_cents"]["en"].startswith("Reference income")
    assert shown["published"]["opens"] == "2026-05-01T22:00:00.000Z"
    listed = (await city.call("GET", "/v1/consultations", None, token=None)).json()["consultations"]
    assert [c["id"] for c in listed] == ["meal-tariff-2027"]


async def test_a_citizen_has_one_voice_and_sees_it(city):
    await published(city)
    (pseudonym,) = await city.link("Durand")
    who = citizen(pseudonym)
    for said in ("support", "object"):
        assert (await city.call("PUT", f"{PATH}/voice", {"voice": said}, who)).status_code == 204
    assert (await city.call("GET", f"{PATH}/voice", None, who)).json() == {"voice": "object"}
    assert (await city.call("DELETE", f"{PATH}/voice", None, who)).status_code == 204
    assert (await city.call("GET", f"{PATH}/voice", None, who)).json() == {"voice": None}


async def test_an_argument_is_published_by_an_officer_and_shows_no_author(city):
    await published(city)
    (pseudonym,) = await city.link("Durand")
    argument = {"side": "for", "language": "fr", "text": "  Moins de papiers.  "}
    n = (await city.call("POST", f"{PATH}/arguments", argument, citizen(pseudonym))).json()["n"]
    assert (await city.call("GET", f"{PATH}/arguments", None, token=None)).json() == {"arguments": []}
    (waiting,) = (await city.call("GET", f"{PATH}/arguments/waiting", None, TAX)).json()["arguments"]
    assert waiting == {"n": n, "side": "for", "language": "fr", "text": "Moins de papiers."}
    ruled = await city.call("PUT", f"{PATH}/arguments/{n}/ruling", {"ruling": "published"}, TAX)
    assert ruled.status_code == 204
    assert (await city.call("GET", f"{PATH}/arguments", None, token=None)).json() == {"arguments": [waiting]}


@pytest.mark.parametrize("steering", ["\0", "\x1b[2J", "\x7f", "\x9b2J"])
async def test_an_argument_steers_no_terminal(city, steering):
    await published(city)
    (pseudonym,) = await city.link("Durand")
    argument = {"side": "for", "language": "fr", "text": f"Moins{steering} de papiers."}
    assert slug(await city.call("POST", f"{PATH}/arguments", argument, citizen(pseudonym))) == "malformed-request"
    argument["text"] = "Moins\r\nde\tpapiers."
    assert (await city.call("POST", f"{PATH}/arguments", argument, citizen(pseudonym))).status_code < 300


async def test_the_result_is_what_the_ledger_holds_the_digest_of(city):
    await published(city)
    assert slug(await city.call("GET", f"{PATH}/result", None, token=None)) == "no-result"
    assert slug(await city.call("POST", f"{PATH}/answer", ANSWER, TAX)) == "consultation-still-open"
    city.clock.now_ms += 40 * DAY_MS
    answered = (await city.call("POST", f"{PATH}/answer", ANSWER, TAX)).json()
    assert (answered["phase"], answered["voices"]) == ("answered", {"support": 0, "object": 0})
    raw = (await city.call("GET", f"{PATH}/result", None, token=None)).content
    await until(lambda: any(e.type is JournalType.CONSULTED for e in city.broker.journal()))
    entry = next(e for e in city.broker.journal() if e.type is JournalType.CONSULTED)
    assert entry.digest == hashlib.sha256(raw).digest()


async def test_another_department_neither_asks_reads_nor_answers(city):
    schools = {"scope": "officer", "department": "schools"}
    assert slug(await city.call("PUT", PATH, asked(), schools)) == "not-the-source"
    await published(city)
    assert slug(await city.call("GET", f"{PATH}/arguments/waiting", None, schools)) == "not-the-source"
    assert slug(await city.call("POST", f"{PATH}/answer", ANSWER, schools)) == "not-the-source"


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        ({"draft": {**DRAFT, "source": "taxes"}}, "not-the-source"),
        ({"draft": {**DRAFT, "law": None, "basis": "6-1-e"}}, "malformed-request"),
        ({"draft": {**DRAFT, "events": {"tax.gone.v1": DRAFT["events"]["tax.income-assessed.v1"]}}}, "bad-draft"),
        ({"closes": "2026-05-01T00:00:00Z"}, "malformed-request"),
        ({"opens": "2026-04-01T00:00:00Z"}, "consultation-in-the-past"),
        ({"opens": "2026-05-02T00:00:00"}, "malformed-request"),
    ],
)
async def test_what_is_refused_says_why_and_publishes_nothing(city, other, problem):
    answer = await city.call("PUT", PATH, asked(**other), TAX)
    assert slug(answer) == problem, answer.text
    assert (await city.call("GET", PATH, None, token=None)).status_code == 404
