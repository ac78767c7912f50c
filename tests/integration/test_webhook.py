"""The webhook as a process, on a real broker: what was delivered comes to a receiver, what it refuses is buried."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from standardwebhooks.webhooks import Webhook as Verifier

from integration.test_publish_receive import commit, deliver
from passerelle_schemas.topics import dead_letter

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

WAIT_S = 10


@pytest.fixture
def receiver():
    """An HTTP server that takes what it is told to take: `answers` by event id, 204 for all others."""
    got, answers = [], {}

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            got.append((dict(self.headers), body))
            self.send_response(answers.get(json.loads(body)["id"], 204))
            self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Hook)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", got, answers
    server.shutdown()
    serving.join()
    server.server_close()


def run(city, *arguments):
    command = [sys.executable, "-m", "passerelle.cli", "inbox", *arguments, "-d", "schools"]
    env = {**os.environ, **city.env()}
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False, timeout=120)


def test_deliveries_come_signed_and_what_nobody_vouches_for_is_buried(city, receiver):
    url, got, answers = receiver
    answers["e-2"] = 500
    producer = Producer({**city.access("gate").confluent(), "transactional.id": "gate-0"})
    producer.init_transactions(WAIT_S)
    producer.begin_transaction()
    catalogue = city.manifest.policy_bundle().catalogue
    decisions = {f"e-{n}": deliver(producer, catalogue, n).hex() for n in (1, 2, 3)}
    commit(city, producer)
    secret = run(city, "webhook-secret").stdout.strip()
    # Nobody serves consents there: nothing is sent a second time.
    ended = run(city, "webhook", "--url", url, "--once", "--consent-url", "http://127.0.0.1:1")
    assert ended.returncode == 0, ended.stderr
    assert "2 sent, 0 no longer allowed, 1 dead letters" in ended.stdout
    events = [Verifier(secret).verify(body.decode(), headers) for headers, body in got]
    assert {event["id"]: event["decisionid"] for event in events} == decisions
    assert len(got) == 3
    assert all(event["data"] == {"tariff_band": "D"} for event in events)
    letter = only_letter(city)
    assert (letter["component"], letter["topic"]) == ("webhook", "inbox.schools")
    assert letter["reason"].startswith("nobody says whether this may still go")


def only_letter(city):
    consumer = Consumer({**city.access("schools").confluent(), "group.id": "unused"})
    consumer.assign([TopicPartition(dead_letter("schools"), 0, OFFSET_BEGINNING)])
    (record,) = [message for message in consumer.consume(2, 5) if message.error() is None]
    consumer.close()
    return json.loads(record.value())


def test_an_address_in_the_clear_is_refused(city):
    ended = run(city, "webhook", "--url", "http://schools.example/hook")
    assert ended.returncode == 2
    assert "https://" in ended.stderr
