"""No personal data in logs, dead letters or the ledger (promise P8): a name let loose in the city is nowhere found.

Everything runs for real, and the name is wherever a person's data may be: in good events, in garbage, in a rule that
fails, in requests that are refused. Then everything that the parts wrote is searched, their standard output and error
included. The last tests show that the search would find it.
"""

import base64
import json
import textwrap
import time
import unicodedata
from dataclasses import dataclass

import httpx
import pytest
from confluent_kafka import Producer

from faults.citizens import Person
from faults.collect import Topics
from faults.run import broker_and_city
from faults.whole_city import GATES, Published, whole_city
from passerelle.pseudonyms import PivotIdentity, subject_ref
from passerelle_schemas.topics import (
    DECISIONS,
    EXCHANGE,
    FENCE,
    JOURNAL,
    MARKS,
    dead_letter,
    outbox,
)

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

GIVEN, FAMILY = "Zéphyrinette", "Quarante-Canaris"
NAME, EMAIL, PHONE = f"{GIVEN} {FAMILY}", "zephyrinette.qc@canari.example", "+33 6 99 42 17 03"
STREET = "417 passage des Canaris-Égarés"
SAID = (GIVEN, FAMILY, EMAIL, PHONE, PHONE.replace(" ", ""), STREET)
IDENTITY = {
    "given_names": [GIVEN],
    "family_name": FAMILY,
    "birth_date": "1979-02-28",
    "gender": "female",
    "birth_place": "75056",
    "birth_country": "99100",
}
REPORTS, MOVES = "citizen-desk.report-filed.v1", "civil-registry.address-changed.v1"
FRAIL = "social-action.frail-registered.v1"
COMPONENTS = ("consent", "ledger", *GATES, "agents")

FAILING_AGENTS = '''
"""The agents of Lutèce, and a rule that fails on every move with the new address in its message."""

from lutece.agents import app, city, moves


@city.route(moves, flow="move.cleanliness", fields={
    "moved_on": moves.moved_on,
    "street": moves.new_street,
    "postcode": moves.new_postcode,
    "residents": moves.household_size,
})
def failing(move):
    """Fails."""
    raise ValueError(f"cannot place {move.new_street}")
'''


def written_as(text):
    """The ways in which a text may come to stand in a file."""
    forms = {text, text.casefold(), text.upper(), *(unicodedata.normalize(f, text) for f in ("NFC", "NFD"))}
    escaped = {json.dumps(f)[1:-1] for f in forms} | {ascii(f)[1:-1] for f in forms}
    return {f.encode() for f in forms | escaped} | {f.encode("latin-1", "ignore") for f in forms}


def ids_as(ids):
    """The ways in which 16 bytes may come to stand in a file."""
    for raw in ids:
        yield from (raw, raw.hex().encode(), raw.hex().upper().encode(), base64.b64encode(raw).rstrip(b"="))
        yield from (base64.urlsafe_b64encode(raw).rstrip(b"="), repr(raw)[2:-1].encode())


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is looked for."""

    names: frozenset[bytes]
    ids: frozenset[bytes]

    @classmethod
    def about(cls, ground, ref):
        ids = [ref, *(ground.keyring.pseudonym(d, ref) for d in ground.manifest.department_ids)]
        return cls(names=frozenset().union(*map(written_as, SAID)), ids=frozenset(ids_as(ids)))

    def in_bytes(self, data, *, ids=True):
        return any(word in data for word in (self.names | self.ids if ids else self.names))

    def in_files(self, *folders):
        """Files below that hold any of it."""
        files = (path for folder in folders for path in folder.rglob("*") if path.is_file())
        return {path.name for path in files if self.in_bytes(path.read_bytes())}

    def in_topics(self, ground, topics, partitions, *, ids):
        """Topics of which a record holds any of it, in key, value or headers."""
        read = Topics(ground.access("admin"), partitions)
        return {
            topic
            for topic in topics
            for r in read.all(topic)
            if self.in_bytes(b"\n".join((r.key or b"", r.value or b"", repr(r.headers).encode())), ids=ids)
        }


def everywhere(search, ground):
    """Where any of it stands that must not: logs, run folder with the ledger, dead letters, the bus's own topics."""
    home, partitions = ground.home, ground.manifest.partitions
    found = search.in_files(home.run, *(p for p in (home.root / "logs",) if p.exists()))
    found |= {p.name for p in home.kafka.glob("*.log*") if search.in_bytes(p.read_bytes())}
    letters = [dead_letter("gate"), dead_letter("agents.lutece")]
    found |= search.in_topics(ground, letters, 1, ids=True)
    found |= search.in_topics(ground, [MARKS, FENCE], partitions, ids=True)
    # These are about somebody, so they hold a subject ref; nobody but the ledger reads them. Names they hold none.
    found |= search.in_topics(ground, [DECISIONS, JOURNAL], partitions, ids=False)
    return found


def linked(city):
    pseudonym = city.post("/v1/links", {"identities": [IDENTITY]}).json()["pseudonyms"]
    key = city.ground.manifest.city_key(city.ground.home)
    return Person(ref=subject_ref(key, PivotIdentity.model_validate(IDENTITY)), pseudonym=bytes.fromhex(pseudonym[0]))


def let_loose(city, person):
    """Put the name wherever one may come to stand."""
    publish_good_events(city, person)
    publish_garbage(city, person)
    for path, body in refused(person):
        assert city.post(path, body).status_code >= 400
        assert city.post(path, body, person).status_code >= 400
    for agreement in ("street-contact-roads", "move-schools"):
        assert city.say(person, agreement).status_code == 200
        assert city.say(person, agreement, "withdraw").status_code in (200, 202)
    httpx.post(
        f"{city.portal.url}/v1/links", content=json.dumps(IDENTITY)[:-5], headers={"Authorization": NAME.title()[:1]}
    )
    httpx.get(f"{city.portal.url}/v1/{NAME}?q={EMAIL}")


def publish_good_events(city, person):
    base = {t: c.decode(c.encode(c.example)) for t in (REPORTS, MOVES, FRAIL) for c in [city.catalogue.by_type(t)]}
    contact = {"reporter_name": NAME, "reporter_email": EMAIL, "reporter_phone": PHONE, "operator": "DVD"}
    events = [
        (REPORTS, {**base[REPORTS], **contact}),
        (REPORTS, {**base[REPORTS], **contact, "operator": NAME}),  # nobody's: a dead letter
        (MOVES, {**base[MOVES], "new_street": STREET}),
        (FRAIL, {**base[FRAIL], "street": STREET, "phone": PHONE}),
    ]
    city.publish([Published(type=t, person=person, value=v) for t, v in events], a_second=100)


def publish_garbage(city, person):
    """Bytes that are no event: in an outbox and, since only the broker keeps others from it, on the exchange."""
    producer = Producer({**city.ground.access("admin").confluent(), "enable.idempotence": True})
    key = city.ground.keyring.pseudonym("citizen-desk", person.ref)
    framed = b"\0\0\0\0\1" + NAME.encode()
    for value in (NAME.encode(), framed, json.dumps(IDENTITY).encode()):
        for headers in ([], [("ce_type", NAME.encode()), ("ce_id", EMAIL.encode())]):
            producer.produce(outbox("citizen-desk", "report-filed"), value, key, headers=headers)
            producer.produce(EXCHANGE, value, person.ref, headers=headers)
            producer.produce(EXCHANGE, value, NAME.encode(), headers=[*headers, ("ce_flow", NAME.encode())])
    assert producer.flush(30) == 0


def refused(person):
    subject = f"/v1/subjects/{person.pseudonym.hex()}"
    yield "/v1/links", {"identities": [{**IDENTITY, NAME: EMAIL}]}
    yield "/v1/links", {"identities": [{**IDENTITY, "gender": NAME}]}
    yield "/v1/links", {"department": NAME, "identities": [IDENTITY]}
    yield f"{subject}/agreements/move-schools/give", {"notice": NAME}
    yield f"{subject}/agreements/move-schools/withdraw", {"by": EMAIL}
    yield f"/v1/subjects/{NAME}/agreements/move-schools/give", {"notice": 1}


@pytest.fixture(scope="module")
def ground(made):
    with broker_and_city(made) as ready:
        yield ready


@pytest.fixture(scope="module")
def search(ground, tmp_path_factory):
    """The name was everywhere, and all parts have ended."""
    module = tmp_path_factory.mktemp("agents") / "failing_agents.py"
    module.write_text(FAILING_AGENTS)
    with whole_city(ground, agents="failing_agents", environ={"PYTHONPATH": str(module.parent)}) as city:
        person = linked(city)
        let_loose(city, person)
        city.drain()
        await_entries(ground)
    return Search.about(ground, person.ref)


def await_entries(ground):
    """The ledger has published what was decided."""
    end = time.monotonic() + 30
    while not list((ground.home.ledger / "tile/entries").rglob("*.p/*")):
        assert time.monotonic() < end
        time.sleep(0.1)


def test_the_name_was_there(ground, search):
    """Otherwise the next test finds nothing because nothing happened."""
    read = Topics(ground.access("admin"), ground.manifest.partitions)
    inbox = [r for r in read.all("inbox.tax") if STREET.encode() in (r.value or b"")]
    assert len(inbox) == 1
    reasons = [json.loads(r.value)["reason"] for r in Topics(ground.access("admin"), 1).all("deadletter.agents.lutece")]
    assert {"no-recipient"} <= set(reasons)
    assert len(set(reasons)) >= 3  # nobody's, unreadable, a failing rule
    assert any(True for _ in Topics(ground.access("admin"), 1).all("deadletter.gate"))
    assert (ground.home.ledger / "checkpoint").exists()


def test_no_part_wrote_the_name_or_an_id_of_the_person(ground, search):
    assert everywhere(search, ground) == set()


def test_a_print_in_any_part_would_be_found(ground, search, tmp_path):
    """Each part prints the name once before it does anything else: on standard output, or on standard error."""
    (tmp_path / "sitecustomize.py").write_text(
        textwrap.dedent(
            """
            import os, sys
            print("hello", os.environ["CANARY"], file=(sys.stdout, sys.stderr)[os.getpid() % 2], flush=True)
            """
        )
    )
    leaky = {"PYTHONPATH": str(tmp_path), "CANARY": NAME, "PYTHONIOENCODING": "utf-8"}
    with whole_city(ground, environ=leaky):
        pass
    assert everywhere(search, ground) == {f"{name}.log" for name in COMPONENTS}


def test_a_name_in_a_dead_letter_or_in_the_ledger_would_be_found(ground, search):
    before = everywhere(search, ground)
    producer = Producer(ground.access("admin").confluent())
    producer.produce(dead_letter("gate"), json.dumps({"reason": NAME}).encode())
    producer.produce(dead_letter("agents.lutece"), b"{}", headers=[("note", EMAIL.encode())])
    assert producer.flush(30) == 0
    tile = ground.home.ledger / "tile/entries/canary"
    tile.write_bytes(b"\0\1" + next(iter(search.ids)))
    assert everywhere(search, ground) - before == {"deadletter.gate", "deadletter.agents.lutece", "canary"}
