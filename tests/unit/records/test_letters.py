"""Who settles which dead letter, and what the ledger is told of it."""

import hashlib

import pytest

from passerelle_consent.ledger.log.entries import Entry, EntryType
from passerelle_consent.ledger.sealing.sequence import draft_of_journal
from passerelle_consent.wire import Cause
from unit.records.fakes import City, until

SCHOOLS = {"scope": "department", "department": "schools"}
OPERATOR = {"scope": "operator"}
LETTER = hashlib.sha256(b"inbox.schools[2]@5").digest()


@pytest.fixture
async def city(store_url):
    made = City(store_url)
    await made.up()
    yield made
    await made.down()


def settle(city, token, component="webhook.schools", **said):
    body = {"done": "replayed", "component": component, "cause": "receiver-mended", "letter": LETTER.hex(), **said}
    return city.call("POST", "/v1/operations/dead-letters", body, token)


async def told(city, entry):
    """The entry of the ledger of this id."""
    await until(lambda: any(said.id.hex() == entry for said in city.broker.journal()))
    (said,) = [said for said in city.broker.journal() if said.id.hex() == entry]
    return draft_of_journal(said).entry(None)


@pytest.mark.parametrize(("token", "who"), [(SCHOOLS, "schools"), (OPERATOR, None)])
async def test_who_settled_what_and_why_is_an_entry_and_names_nobody(city, token, who):
    answer = await settle(city, token)
    assert answer.status_code == 201
    entry = await told(city, answer.json()["entry"])
    assert (entry.type, entry.department, entry.component) == (EntryType.REPLAYED, who, "webhook.schools")
    assert (entry.cause, entry.digest, entry.subject_commit) == (Cause.RECEIVER_MENDED, LETTER, None)
    assert Entry.parse(entry.encode()) == entry


async def test_a_discarded_one_is_told_apart(city):
    answer = await settle(city, OPERATOR, component="gate", done="discarded", cause="never-valid")
    assert (await told(city, answer.json()["entry"])).type is EntryType.DISCARDED


@pytest.mark.parametrize("component", ["webhook.tax", "gate", "agents.lutece", "schools", "webhook.schools2"])
async def test_a_department_settles_its_own_alone(city, component):
    answer = await settle(city, SCHOOLS, component=component)
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:passerelle:problem:not-its-letter")


@pytest.mark.parametrize(
    "said",
    [{"cause": "Marie Curie asked for it"}, {"component": "webhook.Marie Curie"}, {"letter": "inbox"}, {"done": "x"}],
)
async def test_no_sentence_gets_into_the_ledger(city, said):
    answer = await settle(city, OPERATOR, **said)
    assert answer.status_code == 422
    assert "Marie" not in answer.text
