"""The HTTP way in as a process, on a real broker."""

import json
import os
import signal
import subprocess
import sys
import time

import httpx
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

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
