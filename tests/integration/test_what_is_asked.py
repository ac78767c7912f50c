"""What citizens and auditors can ask of a real city, and what its decisions would have been under another policy."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from confluent_kafka import Consumer, TopicPartition

from faults.founded import PROJECT
from faults.run import broker_and_city
from faults.scenario import Ground
from faults.whole_city import Published, whole_city
from integration.test_canary import MOVES, REPORTS, linked
from passerelle.issuer import Bearing
from passerelle_consent.ledger.audit.prove import InclusionProof
from passerelle_consent.ledger.log.note import Verifier

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

SECONDS_MAX = 60
AGREEMENTS = PROJECT / "consent/agreements"
SINCE = "2026-01-01"
REPORTED, MOVED = 20, 10
"""Twice each: while she consents, and after she has withdrawn."""


@dataclass(kw_only=True)
class Story:
    ground: Ground
    disclosures: list = field(default_factory=list)
    permitted: list = field(default_factory=list)
    proof: bytes = b""
    readers: list = field(default_factory=list)
    audited: int = 0


def events(city, person):
    """Reports are delivered by law; moves go to the schools by consent alone, to others by law."""
    for type_, count in ((REPORTS, REPORTED), (MOVES, MOVED)):
        contract = city.catalogue.by_type(type_)
        value = contract.decode(contract.encode(contract.example))
        if type_ == REPORTS:
            value["operator"] = "DVD"
        yield from [Published(type=type_, person=person, value=value)] * count


def disclosed(city, who, query="", **headers):
    """Every page, in order."""
    found, path = [], f"/v1/subjects/{headers.pop('pseudonym', 'me')}/disclosures?limit=7{query}"
    while path:
        answer = httpx.get(city.portal.url + path, auth=who, headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        found += answer.json()["disclosures"]
        path = answer.links["next"]["url"] if "next" in answer.links else None
    return found


def until_told(city, who, count):
    end = time.monotonic() + SECONDS_MAX
    while len(found := disclosed(city, who)) < count:
        assert time.monotonic() < end, f"{len(found)} of {count}"
        time.sleep(0.25)
    return found


@pytest.fixture(scope="module")
def story(made):
    with broker_and_city(made) as ground:
        story = Story(ground=ground)
        with whole_city(ground) as city:
            live(city, story)
        yield story


def live(city, story):
    person = linked(city)
    me = city.portal.citizens()(person.pseudonym)
    assert city.say(person, "move-schools").status_code == 200
    city.publish(events(city, person), a_second=200)
    city.drain()
    assert city.say(person, "move-schools", "withdraw").status_code == 200
    city.publish(events(city, person), a_second=200)
    city.drain()
    moves = 3 * 2 * MOVED  # to the schools, the tax office and the cleanliness department
    story.disclosures = until_told(city, me, 2 * REPORTED + moves)
    story.permitted = disclosed(city, me, "&recipient=schools&verdict=permit")
    story.proof = httpx.get(city.portal.url + story.disclosures[0]["proof"], auth=me, timeout=30).content
    auditor = city.portal.issuer.mint(Bearing(scopes=["auditor"], department="citizen-desk"), minutes=5)
    under = {"Authorization": f"Bearer {auditor}", "Mandate": "CNIL-2026/114"}
    story.audited = len(disclosed(city, None, pseudonym=person.pseudonym.hex(), **under))
    story.readers = until_seen(city, me)


def until_seen(city, me):
    end = time.monotonic() + SECONDS_MAX
    pages = -(-(2 * REPORTED + 6 * MOVED) // 7)
    while True:
        answer = httpx.get(city.portal.url + "/v1/subjects/me/readers", auth=me, timeout=30)
        if len(answer.json()["readers"]) >= pages or time.monotonic() > end:
            return answer.json()["readers"]
        time.sleep(0.25)


def test_every_decision_about_a_citizen_is_told_once_newest_first(story):
    assert len(story.disclosures) == 2 * REPORTED + 6 * MOVED
    assert len({d["decision"] for d in story.disclosures}) == len(story.disclosures)
    indices = [d["index"] for d in story.disclosures]
    assert indices == sorted(indices, reverse=True)
    assert all(d["purpose"]["fr"] and d["agreements"][0]["basis"]["fr"] for d in story.disclosures)


def test_what_was_shared_is_named_field_by_field(story):
    assert len(story.permitted) == MOVED
    assert {f["name"] for f in story.permitted[0]["fields"]} == {"moved_on", "street", "postcode", "city"}
    denied = [d for d in story.disclosures if d["recipient"] == "schools" and d["verdict"]["code"] == "deny"]
    assert [(d["reason"]["code"], d["fields"]) for d in denied] == [("consent-withdrawn", [])] * MOVED


def test_the_proof_opens_with_the_published_key_alone(story):
    vkey = story.ground.home.ledger.with_name("ledger.vkey").read_text().strip()
    entry, _ = InclusionProof.parse(story.proof).check(Verifier.parse(vkey))
    assert entry.ident.hex() == story.disclosures[0]["decision"]


def test_the_citizen_sees_that_an_auditor_looked_and_why(story):
    assert story.audited == len(story.disclosures)
    assert {(r["reader"]["code"], r["mandate"]) for r in story.readers} == {("auditor", "CNIL-2026/114")}


def replay(story, *arguments):
    command = [sys.executable, "-m", "passerelle.cli", "policy", "replay", "--json", "--since", SINCE, *arguments]
    env = {**os.environ, **story.ground.environ()}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_under_the_policy_of_the_time_everything_comes_out_as_it_was(story):
    report = replay(story, "--with", str(AGREEMENTS))
    count = len(story.disclosures)
    assert (report["decisions"], report["unchanged"], report["changed"], report["lost"]) == (count, count, [], {})
    assert report["self_check"] == {"decided_again": count, "reproduced": count, "not_reproduced": []}


@pytest.fixture
def changed(tmp_path):
    """The schools would have to wait for the moves until 2030."""
    folder = shutil.copytree(AGREEMENTS, tmp_path / "agreements")
    file = folder / "civil-registry/move-schools.v1.yaml"
    file.write_text(file.read_text().replace("  from: 2026-01-15", "  from: 2030-01-01"))
    return folder


def test_another_policy_is_told_by_flow_and_reason(story, changed):
    report = replay(story, "--with", str(changed))
    found = {(c["flow"], c["before"]["reason"], c["after"]["reason"]): c["count"] for c in report["changed"]}
    assert found == {
        ("move.schools", "valid-basis", "agreement-not-in-force"): MOVED,
        ("move.schools", "consent-withdrawn", "agreement-not-in-force"): MOVED,
    }
    assert report["unchanged"] == len(story.disclosures) - 2 * MOVED
    known = {d["decision"] for d in story.disclosures}
    assert {e for c in report["changed"] for e in c["examples"]} <= known


def stored(home):
    """Digests of all that the stores and the ledger hold; SQLite's shared memory is no content."""
    files = (p for folder in (home.store, home.run, home.keys) for p in sorted(Path(folder).rglob("*")))
    return {str(p): hashlib.sha256(p.read_bytes()).digest() for p in files if p.is_file() and p.suffix != ".db-shm"}


def ends(ground):
    consumer = Consumer({**ground.access("admin").confluent(), "group.id": "look"})
    topics = consumer.list_topics(timeout=10).topics
    places = [TopicPartition(name, p) for name, topic in topics.items() for p in topic.partitions]
    marks = {(p.topic, p.partition): consumer.get_watermark_offsets(p, timeout=10, cached=False) for p in places}
    consumer.close()
    return marks


def test_a_replay_delivers_nothing_and_writes_nothing(story, changed):
    before = stored(story.ground.home), ends(story.ground)
    replay(story, "--with", str(changed))
    assert (stored(story.ground.home), ends(story.ground)) == before
