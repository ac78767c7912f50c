"""The consent service as a process on a real broker. A small stand-in for the gate writes the fence marks."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from passerelle.consent_clients import Clients
from passerelle.issuer import Bearing, LocalIssuer
from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_consent.policy.standing import Standing, State
from passerelle_consent.records.relay import Superseded
from passerelle_consent.wire import (
    POLICY_KEY,
    FenceMark,
    JournalType,
    decode_journal,
    decode_standing,
    encode_fence,
    encode_standing,
)
from passerelle_schemas.topics import partition_of

pytestmark = pytest.mark.broker

DESK = "citizen-desk"
READY_S_MAX = 60.0
CANARY = "Zyxwvutsrq"
HELD = str(Path(__file__).with_name("consent_held.py"))


@dataclass
class Service:
    """A running `passerelle consent serve`."""

    process: subprocess.Popen
    url: str
    log: object
    http: httpx.Client = field(init=False)

    def __post_init__(self):
        self.http = httpx.Client(base_url=self.url, timeout=30)

    def call(self, method, path, body=None, auth=None):
        return self.http.request(method, path, json=body, auth=auth)


@contextmanager
def serving(city, log, *, port=0, program=("-m", "passerelle.cli"), env=None) -> Iterator[Service]:
    with log.open("ab") as out:
        start = log.stat().st_size
        command = [sys.executable, *program, "consent", "serve", "--port", str(port)]
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **city.env(), **(env or {})})
    try:
        service = Service(process, ready(process, log, start), log)
        with service.http:
            yield service
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(30)


def ready(process, log, start):
    end = time.monotonic() + READY_S_MAX
    while time.monotonic() < end and process.poll() is None:
        for line in log.read_bytes()[start:].splitlines():
            if b'"ready"' in line:
                return json.loads(line)["address"]
        time.sleep(0.05)
    raise AssertionError(f"not ready, exit code {process.poll()}: {log.read_text()[-2000:]}")


class Gate(threading.Thread):
    """Applies `consent` and marks it on `fence` in transactions, as the gate's principal."""

    def __init__(self, city):
        super().__init__(daemon=True)
        self.city = city
        self.partitions = range(city.manifest.partitions)
        access = city.access("gate").confluent()
        self.consumer = Consumer({**access, "group.id": "gate", "auto.offset.reset": "earliest"})
        self.producers = [
            Producer({**access, "transactional.id": f"gate-{p}", "linger.ms": 0}) for p in self.partitions
        ]
        self.ending = threading.Event()

    def __enter__(self):
        for producer in self.producers:
            producer.init_transactions(30)
        self.consumer.assign([TopicPartition("consent", p, 0) for p in self.partitions])
        self.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.join()
        self.consumer.close()

    def run(self):
        while not self.ending.is_set():
            applied = {}
            for record in self.consumer.consume(500, 0.02):
                if not record.error():
                    applied[record.partition()] = record.offset() + 1
            for partition, offset in applied.items():
                self.mark(partition, offset)

    def mark(self, partition, applied, *, commit=True):
        producer = self.producers[partition]
        producer.begin_transaction()
        value = encode_fence(FenceMark(applied=applied, worker="test"))
        producer.produce("fence", value, key=str(partition).encode(), partition=partition)
        if commit:
            producer.commit_transaction(30)
        else:
            producer.flush(30)
            producer.abort_transaction(30)


def records(city, topic):
    """Everything on a topic, in order by partition."""
    access = city.access("admin").confluent()
    consumer = Consumer(
        {
            **access,
            "group.id": "test",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,
        }
    )
    consumer.list_topics(topic, READY_S_MAX)  # a topic that the client has not met waits for its next second
    consumer.assign([TopicPartition(topic, p, 0) for p in range(city.manifest.partitions)])
    found, ended = [], set()
    while len(ended) < city.manifest.partitions:
        record = consumer.poll(10)
        assert record is not None, f"{topic} does not answer"
        if record.error():
            ended.add(record.partition())
        else:
            found.append(record)
    consumer.close()
    return found


def identity(number):
    return {
        "given_names": ["Marie"],
        "family_name": f"{CANARY} {number}",
        "birth_date": "1980-02-29",
        "gender": "female",
        "birth_place": "75056",
        "birth_country": "99100",
    }


@pytest.fixture(scope="module")
def consent(city):
    """An agreement of the demonstration city that rests on an adult's consent, and who gives out tokens."""
    bundle = city.manifest.policy_bundle()
    agreement = next(a for a in bundle.agreements if a.basis.value == "6-1-a" and "adult" in a.subjects)
    return agreement, LocalIssuer(city.home, city.manifest)


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "consent.log"
    path.touch()
    return path


def office(issuer):
    return issuer.bearer(Bearing(scopes=["department"], department=DESK))


def citizen(issuer, pseudonym):
    return issuer.bearer(Bearing(scopes=["citizen"], department=DESK, pseudonym=bytes.fromhex(pseudonym)))


def link(service, issuer, *numbers):
    body = {"identities": [identity(n) for n in numbers]}
    answer = service.call("POST", "/v1/links", body, office(issuer))
    assert answer.status_code == 200, answer.text
    return answer.json()["pseudonyms"]


def say(service, consent, pseudonym, action):
    agreement, issuer = consent
    path = f"/v1/subjects/me/agreements/{agreement.id}/{action}"
    return service.call("POST", path, {"notice": agreement.notice.version}, citizen(issuer, pseudonym))


def settled(service, answer):
    """The change in effect: at once, or by its status address when the machine is slow."""
    if answer.status_code == 200:
        return answer.json()
    assert answer.status_code == 202, answer.text
    end = time.monotonic() + 60
    while (body := look(service, answer))["status"] != "in-effect":
        assert time.monotonic() < end, body
        time.sleep(0.02)
    return body


def look(service, answer):
    """Ask again, with the token that was sent there."""
    headers = {"Authorization": answer.request.headers["Authorization"]}
    return service.http.get(answer.headers["location"], headers=headers).json()


def test_a_withdrawal_is_acknowledged_by_the_fence_on_a_real_broker(city, consent, log):
    _, issuer = consent
    with serving(city, log) as service, Gate(city):
        (pseudonym,) = link(service, issuer, 1)
        settled(service, say(service, consent, pseudonym, "give"))
        told = settled(service, say(service, consent, pseudonym, "withdraw"))
        ref = city.manifest.keyring(city.home).subject(DESK, bytes.fromhex(pseudonym))
        mine = [r for r in records(city, "consent") if r.key() == ref]
        states = [[s.state for s in decode_standing(r.value()).stances.values()] for r in mine]
        assert states == [[], [State.GIVEN], [State.WITHDRAWN]]
        assert (told["consent_partition"], told["consent_offset"]) == (mine[-1].partition(), mine[-1].offset())
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(30) == 0
    entries = [decode_journal(r.value()) for r in records(city, "consent.journal")]
    about = [e for e in entries if e.subject == ref]
    kinds = [JournalType.LINKED, JournalType.GIVEN, JournalType.WITHDRAWN, JournalType.FENCED]
    assert [e.type for e in about] == kinds
    assert about[-1].regarding == about[-2].id
    policies = [r for r in records(city, "consent") if r.key() == POLICY_KEY]
    assert {PolicyBundle.unpack(r.value()).digest for r in policies} == {city.manifest.policy_bundle().digest}
    assert {r.partition() for r in policies} == set(range(city.manifest.partitions))
    assert sum(e.type is JournalType.AGREEMENT for e in entries) == len(city.manifest.policy_bundle().agreements)
    text = log.read_text()
    assert CANARY not in text
    assert pseudonym not in text
    assert ref.hex() not in text


def test_killed_before_the_fence_it_completes_the_acknowledgement_after_a_restart(city, consent, log):
    _, issuer = consent
    with serving(city, log) as service:
        (pseudonym,) = link(service, issuer, 2)
        settled(service, say(service, consent, pseudonym, "give"))
        answer = say(service, consent, pseudonym, "withdraw")
        assert answer.status_code == 202
        service.process.kill()
        service.process.wait()
    with serving(city, log) as service:
        assert look(service, answer)["status"] == "taking-effect"
        with Gate(city):
            assert settled(service, answer)["state"] == "withdrawn"


def test_a_mark_of_a_transaction_that_was_aborted_acknowledges_nothing(city, consent, log):
    _, issuer = consent
    with serving(city, log) as service:
        (pseudonym,) = link(service, issuer, 3)
        settled(service, say(service, consent, pseudonym, "give"))
        gate = Gate(city)
        for producer in gate.producers:
            producer.init_transactions(30)
        for partition in gate.partitions:
            gate.mark(partition, 1_000_000, commit=False)
        answer = say(service, consent, pseudonym, "withdraw")
        assert answer.status_code == 202
        with Gate(city):
            assert settled(service, answer)["state"] == "withdrawn"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def store(request, tmp_path):
    """Where the service finds an empty store of its own."""
    if request.param == "sqlite":
        return {"PASSERELLE_CONSENT_STORE": f"sqlite:///{tmp_path}/consent.db"}
    return {"PASSERELLE_CONSENT_STORE": request.getfixturevalue("postgresql").database()}


def test_killed_between_the_commit_and_the_relay_it_loses_nothing_and_keeps_order(city, consent, log, store):
    issuer = consent[1]
    numbers = (10, 11) if "sqlite" in store["PASSERELLE_CONSENT_STORE"] else (12, 13)
    with Gate(city):
        with serving(city, log, env=store) as service:
            pseudonyms = link(service, issuer, *numbers)
            for p in pseudonyms:
                settled(service, say(service, consent, p, "give"))
        with serving(city, log, program=(HELD,), env=store) as service:
            for action in ("withdraw", "give", "withdraw"):
                for p in pseudonyms:
                    answer = say(service, consent, p, action)
                    assert answer.status_code == 202, "it is in the store, and not on the broker"
            service.process.kill()
            service.process.wait()
        refs = [city.manifest.keyring(city.home).subject(DESK, bytes.fromhex(p)) for p in pseudonyms]
        assert [revisions(city, ref) for ref in refs] == [[1, 2], [1, 2]]
        with serving(city, log, env=store) as service:
            assert settled(service, answer)["state"] == "withdrawn"
            assert [revisions(city, ref) for ref in refs] == [[1, 2, 3, 4, 5]] * 2
    about = [decode_journal(r.value()) for r in records(city, "consent.journal") if r.key() == refs[1]]
    said = [e.type for e in about if e.type is not JournalType.FENCED]
    assert said == [
        JournalType.LINKED,
        JournalType.GIVEN,
        JournalType.WITHDRAWN,
        JournalType.GIVEN,
        JournalType.WITHDRAWN,
    ]


async def test_a_relay_that_was_stopped_and_continued_sends_nothing_after_the_next_one(city):
    """Compaction keeps a subject's last record: an old standing behind a newer one would in time be all there is."""
    ref = b"stopped/started!"
    at = {"topic": "consent", "key": ref, "partition": partition_of(ref, city.manifest.partitions)}
    old, new = [encode_standing(Standing(linked=True, revision=r)) for r in (1, 2)]
    clients = Clients(city.settings)
    stopped = await clients.supersede()
    await stopped.begin()
    await (await stopped.send(value=old, **at))
    next_one = await clients.supersede()
    await next_one.begin()
    await (await next_one.send(value=new, **at))
    assert await next_one.end(None)
    with pytest.raises(Superseded):
        await stopped.end(None)
    await next_one.stop()
    await stopped.stop()
    assert revisions(city, ref) == [2]


def revisions(city, ref):
    return [decode_standing(r.value()).revision for r in records(city, "consent") if r.key() == ref]


def test_killed_in_the_middle_of_traffic_it_loses_nothing_and_keeps_order(city, consent, log):
    _, issuer = consent
    numbers = range(100, 140)
    answered: dict[str, int] = {}
    with Gate(city):
        with serving(city, log) as service:
            pseudonyms = link(service, issuer, *numbers)
            port = httpx.URL(service.url).port
            traffic = [
                threading.Thread(target=change_minds, args=(service.url, consent, p, answered)) for p in pseudonyms
            ]
            for thread in traffic:
                thread.start()
            end = time.monotonic() + READY_S_MAX
            while sum(answered.values()) < 60:
                assert time.monotonic() < end, answered
                time.sleep(0.01)
            service.process.kill()
            for thread in traffic:
                thread.join()
        with serving(city, log, port=port) as service:
            for p in pseudonyms:
                body = service.call("GET", f"/v1/subjects/{p}/standing", auth=office(issuer)).json()
                # What was answered is there; one more may have been recorded as the process died.
                assert body["revision"] - 1 in (answered.get(p, 0), answered.get(p, 0) + 1)
                settled(service, say(service, consent, p, "give"))
                body = service.call("GET", f"/v1/subjects/{p}/standing", auth=office(issuer)).json()
                answered[p] = body["revision"]
    keyring = city.manifest.keyring(city.home)
    for p in pseudonyms:
        ref = keyring.subject(DESK, bytes.fromhex(p))
        revisions = [decode_standing(r.value()).revision for r in records(city, "consent") if r.key() == ref]
        assert sorted(set(revisions)) == list(range(1, answered[p] + 1))
        assert revisions[-1] == answered[p]


def change_minds(url, consent, pseudonym, answered):
    agreement, issuer = consent
    path = f"/v1/subjects/{pseudonym}/agreements/{agreement.id}"
    body = {"notice": agreement.notice.version}
    with httpx.Client(base_url=url, auth=citizen(issuer, pseudonym), timeout=30) as http:
        for i in range(100):
            try:
                answer = http.post(f"{path}/{'withdraw' if i % 2 else 'give'}", json=body)
            except httpx.TransportError:
                return
            assert answer.status_code in (200, 202)
            answered[pseudonym] = answered.get(pseudonym, 0) + 1


def test_faults_at_start_are_one_line_and_a_hint(city, consent, log, tmp_path):
    with serving(city, log):
        second = start_once(city)
        assert second.returncode == 2
        assert "another process serves this store" in second.stderr.splitlines()[-2]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused = start_once(city, "--port", str(taken.getsockname()[1]))
    assert refused.returncode == 2
    assert "cannot listen: Address already in use" in refused.stderr


def start_once(city, *arguments):
    command = [sys.executable, "-m", "passerelle.cli", "consent", "serve", *(arguments or ("--port", "0"))]
    return subprocess.run(
        command, env={**os.environ, **city.env()}, capture_output=True, text=True, timeout=60, check=False
    )
