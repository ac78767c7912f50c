"""The HTTP way in as a process, on a real broker."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import httpx
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from conftest import start_broker
from passerelle.city.broker import Broker
from passerelle.issuer import Bearing, LocalIssuer
from passerelle_schemas.topics import outbox

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

SECONDS_MAX = 60
TOPIC = outbox("tax", "income-assessed")


@pytest.fixture
def ingress(city):
    log = city.home.root / "ingress.log"
    command = [sys.executable, "-m", "passerelle.cli", "publish", "http", "-d", "tax", "--port", "0"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **city.env()})
    until = time.monotonic() + SECONDS_MAX
    while '"event": "ready"' not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until
        time.sleep(0.05)  # a log file has no event to wait for
    ready = next(json.loads(line) for line in log.read_text().splitlines() if '"ready"' in line)
    auth = LocalIssuer(city.home, city.manifest).bearer(Bearing(scopes=["department"], department="tax"))
    with httpx.Client(base_url=ready["address"], auth=auth, timeout=30) as client:
        yield client
    process.send_signal(signal.SIGTERM)
    assert process.wait(SECONDS_MAX) == 0, log.read_text()
    assert "3184200" not in log.read_text()


def test_what_is_posted_stands_in_the_outbox(city, ingress):
    contract = city.manifest.policy_bundle().catalogue.by_type("tax.income-assessed.v1")
    event = {"type": contract.type, "pseudonym": "07" * 16, "value": dict(contract.example), "id": "posted"}
    answer = ingress.post("/v1/events", json=event, headers={"Idempotency-Key": "one"})
    assert answer.status_code == 201, answer.text
    again = ingress.post("/v1/events", json=event, headers={"Idempotency-Key": "one"})
    assert again.json() == answer.json()
    place = answer.json()
    consumer = Consumer({**city.access("observer").confluent(), "group.id": "observer"})
    consumer.assign([TopicPartition(TOPIC, place["partition"], OFFSET_BEGINNING)])
    (record,) = consumer.consume(2, 5)
    consumer.close()
    assert (record.offset(), record.key()) == (place["offset"], b"\x07" * 16)
    assert dict(record.headers())["ce_id"] == b"posted"
    assert contract.decode(record.value())["reference_income_cents"] == contract.example["reference_income_cents"]


class Client:
    """Posts one event after the other, each under its key until it is taken, as the answers say."""

    def __init__(self, http, contract):
        self.http, self.contract = http, contract
        self.answers, self.taken = [], []
        self.stop = threading.Event()
        self.refused = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        n = 0
        while not self.stop.is_set():
            event = {"type": self.contract.type, "pseudonym": f"{n % 9:032x}", "value": dict(self.contract.example)}
            self.taken.append(self.post(event, f"restart-{n}"))
            n += 1

    def post(self, event, key):
        while True:
            answer = self.http.post("/v1/events", json=event, headers={"Idempotency-Key": key})
            self.answers.append(answer)
            if answer.status_code == 201:
                return answer.json()
            self.refused.set()
            time.sleep(float(answer.headers["Retry-After"]))


def test_a_broker_that_dies_and_comes_back_loses_nothing_that_was_accepted_and_doubles_nothing(city, ingress):
    contract = city.manifest.policy_bundle().catalogue.by_type("tax.income-assessed.v1")
    client = Client(ingress, contract)
    client.thread.start()
    until = time.monotonic() + SECONDS_MAX
    while len(client.taken) < 20:
        assert time.monotonic() < until
        time.sleep(0.02)  # the client tells of refusals alone
    Broker.find(city.home).kill()
    assert client.refused.wait(SECONDS_MAX)
    start_broker(city.home)
    before = len(client.taken)
    until = time.monotonic() + SECONDS_MAX
    while len(client.taken) < before + 20:
        assert time.monotonic() < until, [answer.text for answer in client.answers[-3:]]
        time.sleep(0.02)
    client.stop.set()
    client.thread.join(SECONDS_MAX)
    kinds = {(a.status_code, a.json()["type"].rpartition(":")[2]) for a in client.answers if a.status_code != 201}
    assert (503, "bus-away") in kinds
    assert kinds <= {(503, "bus-away"), (409, "repeat-under-way")}
    accepted = {place["id"]: (place["partition"], place["offset"]) for place in client.taken}
    found = ids_in_the_outbox(city)
    assert {ident: places for ident, places in found.items() if ident in accepted} == {
        ident: [place] for ident, place in accepted.items()
    }


def ids_in_the_outbox(city):
    """Each event's places, in the whole outbox."""
    consumer = Consumer({**city.access("observer").confluent(), "group.id": "observer", "enable.partition.eof": True})
    partitions = range(city.manifest.partitions)
    consumer.assign([TopicPartition(TOPIC, p, OFFSET_BEGINNING) for p in partitions])
    found, ended = {}, set()
    while len(ended) < len(partitions):
        (record,) = consumer.consume(1, SECONDS_MAX)
        if record.error() is not None:
            ended.add(record.partition())
            continue
        ident = dict(record.headers())["ce_id"].decode()
        found.setdefault(ident, []).append((record.partition(), record.offset()))
    consumer.close()
    return found
