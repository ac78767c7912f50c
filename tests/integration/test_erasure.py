"""After erasure nothing stored leads back to the person, and every proof still verifies (promise P7, GDPR Art. 17).

A real city lives with a citizen whose names and ids are known to the test, and then erases her. Then a month passes:
the topics' settings are cut to milliseconds, so that the broker does within seconds what it does in 27 days, and the
joins' checkpoints are told that their bound has come. Every byte below the city's home is searched, the broker's
segments and the databases' logs included; its keys alone are not, since keys name nobody. The same search found
everything before.
"""

import asyncio
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from faults.citizens import Person
from faults.collect import Topics
from faults.run import broker_and_city
from faults.scenario import Ground
from faults.whole_city import Published, WholeCity, whole_city
from integration.test_canary import EMAIL, IDENTITY, NAME, PHONE, Search, linked, publish_good_events
from passerelle.agents.state import expire
from passerelle.issuer import Bearing
from passerelle.keys import key_bytes
from passerelle.receive.acknowledge import acknowledge
from passerelle.receive.delivery import Erased
from passerelle.receive.inbox import InboxReader
from passerelle_consent.ledger.audit.findings import Outcome
from passerelle_consent.ledger.audit.folder import LogFolder
from passerelle_consent.ledger.audit.prove import InclusionProof, find, prove_consistency, prove_inclusion
from passerelle_consent.ledger.audit.verify import verify
from passerelle_consent.ledger.faults import Invalid
from passerelle_consent.ledger.log.commitments import KEY_BYTES, MasterKey, SubjectKey, unseal
from passerelle_consent.ledger.log.entries import Entry, EntryType
from passerelle_consent.ledger.log.note import Verifier
from passerelle_consent.wire import ROLL_KEY, decode_decisions, decode_standing
from passerelle_schemas.topics import CONSENT, DECISIONS, EXCHANGE, JOURNAL

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

SECONDS_MAX = 90
POLL_S = 0.25
REPORTS = "citizen-desk.report-filed.v1"
HOUSEHOLDS, INCOMES = "civil-registry.household-changed.v1", "tax.income-assessed.v1"
JOIN_LOG = "agents.lutece.meal-tariff.log"
GIVEN = ("street-contact-roads", "move-schools", "meal-tariff-household")
QUICK = {
    "log.retention.check.interval.ms": "300",
    "log.initial.task.delay.ms": "300",
    "log.cleaner.backoff.ms": "200",
}
A_MONTH_LATER = {"retention.ms": "1", "segment.ms": "1000", "file.delete.delay.ms": "1"}
A_WEEK_LATER = {
    "segment.ms": "1",
    "min.cleanable.dirty.ratio": "0",
    "max.compaction.lag.ms": "1",
    "delete.retention.ms": "0",
    "file.delete.delay.ms": "1",
}


@dataclass(kw_only=True)
class Story:
    """What happened, for the tests to judge."""

    ground: Ground
    person: Person
    search: Search
    proofs: list[InclusionProof]
    """Of every decision about her, and of what she said, from before the erasure."""
    old_size: int
    before: set[str]
    """Where the search found her before."""
    erasure: str = ""
    kept_by_law: list[str] = field(default_factory=list)
    notices: dict[str, list[bytes]] = field(default_factory=dict)
    acknowledged: dict[str, bool] = field(default_factory=dict)
    denied: str = ""
    after: set[str] = field(default_factory=set)

    @property
    def verifier(self) -> Verifier:
        return Verifier.parse((self.ground.home.run / "ledger.vkey").read_text().strip())


@pytest.fixture(scope="module")
def story(made):
    with broker_and_city(made, **QUICK) as ground:
        with whole_city(ground) as city:
            story = lived(city)
            erased(city, story)
            a_month_passes(city, story)
        expire(ground.home.store / "agents/lutece", JOIN_LOG, horizon_ms())
        story.after = found(story)
        yield story


def lived(city: WholeCity) -> Story:
    """She is linked, says yes and no, and is written about by every department that knows her."""
    person = linked(city)
    for agreement in GIVEN:
        assert city.say(person, agreement).status_code == 200
    publish_good_events(city, person)
    city.publish([about(city, person, HOUSEHOLDS), about(city, person, INCOMES)], a_second=100)
    city.drain()
    assert city.say(person, "move-schools", "withdraw").status_code in (200, 202)
    city.publish([about(city, person, REPORTS)], a_second=100)
    city.drain()
    await_ledger(city.ground)
    ids = {d.id for d in decisions_about(city.ground, person)}
    search = Search.about(city.ground, person.ref)
    story = Story(ground=city.ground, person=person, search=search, proofs=[], old_size=0, before=set())
    log = LogFolder(city.ground.home.ledger)
    story.proofs = [prove_inclusion(log, story.verifier, find(log, story.verifier, ident)) for ident in sorted(ids)]
    story.old_size = verify(log, story.verifier).size or 0
    story.before = found(story)
    return story


def about(city: WholeCity, person: Person, type_: str) -> Published:
    contract = city.catalogue.by_type(type_)
    value = contract.decode(contract.encode(contract.example))
    if type_ == REPORTS:
        value |= {"reporter_name": NAME, "reporter_email": EMAIL, "reporter_phone": PHONE, "operator": "DVD"}
    return Published(type=type_, person=person, value=value)


def erased(city: WholeCity, story: Story) -> None:
    """She asks for it; recipients read of it, one acknowledges; what is still published about her is denied."""
    answer = city.post(f"/v1/subjects/{story.person.pseudonym.hex()}/erasure", {}, story.person)
    assert answer.status_code in (200, 202), answer.text
    body = answer.json()
    story.erasure, story.kept_by_law = body["acknowledgement"], [kept["law"] for kept in body["kept_by_law"]]
    await_(lambda: get(city, f"/v1/acknowledgements/{story.erasure}", story.person).json()["status"] == "in-effect")
    for department in ("roads", "schools", "tax"):
        story.notices[department] = asyncio.run(notices(city, department))
    issuer = city.portal.issuer
    roads = issuer.bearer(Bearing(scopes=["department"], department="roads"))
    url = f"{city.portal.url}/v1/erasures"
    assert acknowledge(city.portal.url, roads, bytes.fromhex(story.erasure))
    officer = issuer.bearer(Bearing(scopes=["officer"], department="citizen-desk"))
    told = httpx.get(url, auth=officer).json()["notices"]
    story.acknowledged = {n["department"]: n["acknowledged_at"] is not None for n in told}
    known = {d.id for d in decisions_about(city.ground, story.person)}
    city.publish([about(city, story.person, REPORTS)], a_second=100)
    city.drain()
    (new,) = [d for d in decisions_about(city.ground, story.person) if d.id not in known]
    story.denied = new.reason.value
    await_ledger(city.ground)


async def notices(city: WholeCity, department: str) -> list[bytes]:
    """The pseudonyms of the notices that a department's reader hands over."""
    told: list[Erased] = []

    async def note(erased: Erased) -> None:
        told.append(erased)

    async def pass_over(_: object) -> None:
        pass

    async with InboxReader(city.ground.access(department), department, city.catalogue) as reader:
        await reader.handle(pass_over, on_erased=note, follow=False)
    return [notice.pseudonym for notice in told]


def a_month_passes(city: WholeCity, story: Story) -> None:
    """The broker does what its topics' settings say, in seconds; the consent service appends twice a day."""
    admin = AdminClient(city.ground.access("admin").confluent())
    topics = [t for t in city._topics() if not t.startswith("__")]
    later = {t: A_WEEK_LATER if t in (CONSENT, "marks", "fence") else A_MONTH_LATER for t in topics}
    for topic, settings in later.items():
        alter(admin, topic, settings)
    producer = Producer(city.ground.access("admin").confluent())
    data = city.ground.home.kafka / "data"
    end = time.monotonic() + SECONDS_MAX
    while where := found(story, data):
        assert time.monotonic() < end, f"still in {where}"
        for partition in range(city.ground.manifest.partitions):
            producer.produce(CONSENT, None, ROLL_KEY, partition=partition)
        assert producer.flush(10) == 0
        time.sleep(POLL_S)  # the cleaner has no event to wait for


def alter(admin: AdminClient, topic: str, settings: dict[str, str]) -> None:
    entries = [ConfigEntry(n, v, incremental_operation=AlterConfigOpType.SET) for n, v in settings.items()]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(timeout=SECONDS_MAX)


def get(city: WholeCity, path: str, person: Person) -> httpx.Response:
    return httpx.get(city.portal.url + path, auth=city.portal.citizens()(person.pseudonym), timeout=30)


def decisions_about(ground: Ground, person: Person):
    read = Topics(ground.access("admin"), ground.manifest.partitions)
    batches = [decode_decisions(r.value).decisions for r in read.all(DECISIONS) if r.value]
    return [d for batch in batches for d in batch if d.subject == person.ref]


def await_(holds) -> None:
    end = time.monotonic() + SECONDS_MAX
    while not holds():
        assert time.monotonic() < end
        time.sleep(POLL_S)  # another process has no event for us


def await_ledger(ground: Ground) -> None:
    """The ledger has integrated, and published, all that is on its topics."""
    read = Topics(ground.access("admin"), ground.manifest.partitions)
    last = {(t, r.partition): r.offset for t in (DECISIONS, JOURNAL) for r in read.all(t)}
    url = f"file:{ground.home.store / 'ledger.sqlite'}?mode=ro"

    def integrated() -> bool:
        with closing(sqlite3.connect(url, uri=True)) as db:
            at = {(t, p): o for t, p, o in db.execute("select topic, partition, next_offset from positions")}
            (size,) = db.execute("select max(size) from checkpoints").fetchone()
        published = (ground.home.ledger / "checkpoint").read_text().splitlines()[1]
        return all(at.get(place, 0) > offset for place, offset in last.items()) and int(published) == size

    await_(integrated)


def found(story: Story, *folders: Path) -> set[str]:
    """Where below the home she can be found: topics by their names, other files by theirs. Keys name nobody."""
    home = story.ground.home
    roots = folders or [p for p in home.root.iterdir() if p != home.keys]
    files = (path for root in roots for path in ([root] if root.is_file() else root.rglob("*")))
    return {named(home.kafka / "data", path) for path in files if path.is_file() and holds(story.search, path)}


def named(data: Path, path: Path) -> str:
    return path.relative_to(data).parts[0].rpartition("-")[0] if path.is_relative_to(data) else path.name


def holds(search: Search, path: Path) -> bool:
    try:
        return any(search.in_bytes(part) for part in written(path))
    except FileNotFoundError:  # the broker deleted it meanwhile
        return False


def written(path: Path) -> Iterator[bytes]:
    """What was ever written to a file: Kafka sets its index files to a megabyte each, and leaves them empty."""
    with path.open("rb") as file:
        at, size = 0, path.stat().st_size
        while at < size:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:  # nothing behind
                return
            end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            file.seek(at)
            yield file.read(end - at)
            at = end


def horizon_ms() -> int:
    """What the agents' hourly sweep asks for when `hold` has passed since now: everything until now."""
    return int(time.time() * 1000) + 1


def opened(ground: Ground) -> list[bytes]:
    """All private parts that any key still stored opens."""
    master = MasterKey.of(key_bytes(ground.home.keys, "ledger/master", KEY_BYTES))
    with closing(sqlite3.connect(f"file:{ground.home.store / 'ledger.sqlite'}?mode=ro", uri=True)) as db:
        wrapped = db.execute("select subject, wrapped from subject_keys").fetchall()
        sealed = db.execute("select body, sealed from entries join private_parts using (idx)").fetchall()
    keys = [SubjectKey.of(master.unwrap(subject, key)) for subject, key in wrapped]
    parts = []
    for body, private in sealed:
        entry = Entry.parse(body)
        for key in keys:
            try:
                parts.append(unseal(key, entry.ident, private, entry.body_commit or b""))
            except Invalid:
                continue
    return parts


def test_the_search_found_her_before(story):
    """Otherwise it finds nothing afterwards because it finds nothing ever."""
    topics = {EXCHANGE, DECISIONS, JOURNAL, CONSENT, JOIN_LOG, "outbox.citizen-desk.report-filed", "inbox.roads"}
    assert topics <= story.before
    assert {"consent.db", "ledger.sqlite"} <= {name.removesuffix("-wal") for name in story.before}
    assert any(name.removesuffix("-wal") in {f"{p}.db" for p in range(4)} for name in story.before)  # a checkpoint
    assert len(story.proofs) >= 5


def test_nothing_stored_leads_back_to_her(story):
    assert story.after == set()


def test_no_key_that_is_left_opens_anything_about_her(story):
    assert not [part for part in opened(story.ground) if story.search.in_bytes(part)]


def test_every_proof_still_verifies(story):
    log = LogFolder(story.ground.home.ledger)
    result = verify(log, story.verifier)
    assert result.outcome is Outcome.VALID
    assert result.entries[EntryType.ERASED.value] == 1
    for proof in story.proofs:
        entry, checkpoint = proof.check(story.verifier)
        assert checkpoint.size <= story.old_size
        assert prove_inclusion(log, story.verifier, proof.index).check(story.verifier)[0] == entry
    assert prove_consistency(log, story.verifier, story.old_size).new == result.size


def test_recipients_are_told_once_by_their_own_pseudonym_and_acknowledge(story):
    for department, told in story.notices.items():
        assert told == [story.ground.keyring.pseudonym(department, story.person.ref)], department
    assert story.acknowledged["roads"]
    assert not story.acknowledged["schools"]
    assert story.kept_by_law


def test_what_is_published_about_her_later_is_of_nobody(story):
    assert story.denied == "unknown-subject"


def test_a_new_link_is_a_new_history(story):
    ground = story.ground
    with whole_city(ground) as city:
        assert city.post("/v1/links", {"identities": [IDENTITY]}).json()["pseudonyms"] == [story.person.pseudonym.hex()]
        assert city.say(story.person, "street-contact-roads").status_code == 200
        standings = [
            decode_standing(r.value)
            for r in Topics(ground.access("admin"), ground.manifest.partitions).all(CONSENT)
            if r.key == story.person.ref and r.value
        ]
        assert [s.revision for s in standings][-2:] == [1, 2]
        assert set(standings[-1].stances) == {"street-contact-roads"}
        await_(lambda: found(story, ground.home.store) != set())
