"""Dead letters of every kind, on a real broker: tried again the way they went, told to the ledger, and not for ever."""

import hashlib
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from confluent_kafka import Producer

from integration.gate_bus import FLOW, OUTBOX, REPORT, Bus, origins, said
from integration.test_consent_service import link, serving
from passerelle.dead_letters import REPLAYS_MAX
from passerelle.envelope import Event, event_headers, proposal_headers
from passerelle.issuer import LocalIssuer
from passerelle.letters import write
from passerelle.receive.into import DDL_SQLITE
from passerelle.receive.positions import DDL
from passerelle_consent.wire import Cause, DeadLetter, Origin, decode_journal
from passerelle_schemas.topics import JOURNAL, inbox, partition_of

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

RULE = "lutece.street-report"
QUICK = ("--session-ms", "2000", "--transaction-timeout-ms", "3000")


@pytest.fixture(scope="module")
def service(city):
    with serving(city, city.home.root / "consent.log") as running:
        yield running


@pytest.fixture(scope="module")
def bus(city, service):
    bus = Bus(city)
    with bus.worker("w1", *QUICK):
        yield bus


@pytest.fixture(scope="module")
def delivered(city, service, bus):
    """A report about somebody whom the citizen desk knows, in the inbox of the roads department."""
    (pseudonym,) = link(service, LocalIssuer(city.home, city.manifest), 1)
    ref = city.manifest.keyring(city.home).subject("citizen-desk", bytes.fromhex(pseudonym))
    until = time.monotonic() + 60
    while True:
        (origin,) = origins(1)
        bus.propose(ref, origin)
        bus.flush()
        (decision,) = bus.decisions([origin])[origin]
        if decision.verdict != "deny":
            break
        assert time.monotonic() < until  # a busy gate has not heard of the link yet
    (delivery,) = bus.delivered("roads", [decision.id])
    return delivery


def deadletters(city, service, *arguments):
    command = [sys.executable, "-m", "passerelle.cli", "deadletters", *arguments]
    if arguments[0] in ("replay", "discard"):
        command += ["--consent-url", getattr(service, "url", "http://127.0.0.1:1")]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **city.env()}, check=False)


def listed(city, owner):
    found = json.loads(deadletters(city, None, "list", "--owner", owner, "--json").stdout)
    return {one["reference"]: one for one in found}


def left_by(city, component, delivery):
    """A letter about a delivery of the roads department, as its component leaves it."""
    place = {"topic": inbox("roads"), "partition": delivery.partition(), "offset": delivery.offset()}
    write(city.access("roads"), "roads", [DeadLetter(component=component, reason="status 500", **place)])
    return f"{inbox('roads')}[{delivery.partition()}]@{delivery.offset()}"


@pytest.fixture
def receiver():
    """An HTTP server with the status to answer next."""
    got, status = [], [204]

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(status[0])
            self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Hook)
    running = threading.Thread(target=server.serve_forever)
    running.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", got
    server.shutdown()
    running.join()
    server.server_close()


def entry_told(bus, answer):
    """What the ledger is told, by the id that the command prints."""
    ident = re.search("ledger entry ([0-9a-f]{32})", answer.stdout)[1]

    def here(messages):
        return any(decode_journal(m.value()).id.hex() == ident for m in messages)

    messages = bus.read("admin", "look", JOURNAL, bus.partitions, here)
    return next(e for e in (decode_journal(m.value()) for m in messages) if e.id.hex() == ident)


def test_a_webhooks_letter_is_delivered_and_told_to_the_ledger(city, service, bus, delivered, receiver):
    url, got = receiver
    reference = left_by(city, "webhook", delivered)
    asked = ("replay", reference, "--owner", "roads", "--cause", "receiver-mended")
    assert "--url" in deadletters(city, service, *asked).stderr
    answer = deadletters(city, service, *asked, "--url", url)
    assert answer.returncode == 0, answer.stderr
    assert f"{reference}: sent" in answer.stdout
    assert [event["decisionid"] for event in got] == [said(delivered, "ce_decisionid")]
    entry = entry_told(bus, answer)
    assert (entry.type, entry.department, entry.component) == ("replayed", "roads", "webhook.roads")
    assert entry.cause is Cause.RECEIVER_MENDED
    assert reference not in listed(city, "roads")


def test_what_may_not_go_any_more_is_settled_and_not_sent(city, service, bus, delivered, receiver):
    """The gate let it through for somebody whom nobody links any more."""
    url, got = receiver
    (ref,), (origin,) = bus.known_subjects(1), origins(1)
    bus.propose(ref, origin)
    bus.flush()
    (decision,) = bus.decisions([origin])[origin]
    reference = left_by(city, "webhook", bus.delivered("roads", [decision.id])[0])
    answer = deadletters(
        city, service, "replay", reference, "--owner", "roads", "--cause", "receiver-mended", "--url", url
    )
    assert "not allowed any more, and not sent" in answer.stdout
    assert got == []
    assert reference not in listed(city, "roads")


def test_a_tables_letter_is_put_into_the_table(city, service, delivered, tmp_path):
    path = tmp_path / "roads.db"
    sqlite3.connect(path).executescript(DDL + DDL_SQLITE)
    reference = left_by(city, "table", delivered)
    asked = ("replay", reference, "--owner", "roads", "--cause", "source-mended", "--database", f"sqlite:///{path}")
    answer = deadletters(city, service, *asked)
    assert answer.returncode == 0, answer.stderr
    rows = sqlite3.connect(path).execute("SELECT decision_id FROM passerelle_deliveries").fetchall()
    assert [row[0].hex() for row in rows] == [said(delivered, "ce_decisionid")]


def test_without_the_ledger_nothing_is_done(city, delivered, receiver):
    url, got = receiver
    reference = left_by(city, "webhook", delivered)
    asked = ("--owner", "roads", "--cause", "receiver-mended")
    answer = deadletters(city, None, "replay", reference, *asked, "--url", url)
    assert (answer.returncode, got) == (2, [])
    assert "nothing was done" in answer.stderr
    assert deadletters(city, None, "discard", reference, *asked).returncode == 2
    assert reference in listed(city, "roads")


def test_what_the_gate_could_not_read_is_decided_again_and_after_three_replays_no_more(city, service, bus):
    (ref,) = bus.known_subjects(1)
    origin = Origin(rule="street-report", topic=OUTBOX, partition=0, offset=77_000, n=0)
    event = Event(id="e-77", source="/department/citizen-desk", type=REPORT, time="2026-11-23T12:00:00.000Z")
    bus.raw(ref, b"garbage", proposal_headers(event, flow=FLOW, origin=origin))
    bus.flush()
    for replays in range(REPLAYS_MAX + 1):
        (decision,) = bus.decisions([origin])[origin]
        assert decision.reason == "unreadable"
        ((reference, one),) = listed(city, "gate").items()
        assert one["replays"] == replays
        asked = ("replay", reference, "--owner", "gate", "--cause", "contract-mended")
        if replays == REPLAYS_MAX:
            refused = deadletters(city, service, *asked)
            assert refused.returncode == 1
            assert "was replayed 3 times, and came back" in refused.stderr
            asked += ("--again",)
        answer = deadletters(city, service, *asked)
        assert answer.returncode == 0, answer.stderr
        run = f"dl-{hashlib.sha256(reference.encode()).hexdigest()[:12]}-{replays + 1}"
        origin = replace(origin, rule=f"{origin.rule}~{run}")
    assert entry_told(bus, answer).component == "gate"
    bus.decisions([origin])
    ((reference, _),) = listed(city, "gate").items()
    gone = deadletters(city, service, "discard", reference, "--owner", "gate", "--cause", "never-valid")
    assert gone.returncode == 0, gone.stderr
    assert entry_told(bus, gone).type == "discarded"
    assert listed(city, "gate") == {}


def test_what_an_agent_could_not_take_is_heard_again_and_decided(city, service, bus):
    """The rule was mended meanwhile: what it failed on is a report like any other now."""
    (ref,) = bus.known_subjects(1)
    pseudonym = city.manifest.keyring(city.home).pseudonym("citizen-desk", ref)
    event = Event(id="e-78", source="/department/citizen-desk", type=REPORT, time="2026-11-23T12:00:00.000Z")
    partition = partition_of(pseudonym, bus.partitions)
    places = []
    desk = Producer(city.access("citizen-desk").confluent())
    desk.produce(
        OUTBOX,
        bus.report.encode({**bus.report.decode(bus.report.encode(bus.report.example)), "operator": "DVD"}),
        pseudonym,
        partition,
        headers=event_headers(event),
        on_delivery=lambda _, message: places.append(message.offset()),
    )
    assert desk.flush(30) == 0
    (offset,) = places
    place = {"topic": OUTBOX, "partition": partition, "offset": offset}
    letter = DeadLetter(component="agents.lutece", reason="rule-error", rule=RULE, error="KeyError", **place)
    write(city.access("admin"), "agents.lutece", [letter])
    ((reference, _),) = listed(city, "agents.lutece").items()
    asked = ("replay", reference, "--owner", "agents.lutece", "--cause", "rule-mended")
    answer = deadletters(city, service, *asked)
    assert answer.returncode == 0, answer.stderr
    run = f"dl-{hashlib.sha256(reference.encode()).hexdigest()[:12]}-1"
    origin = Origin(rule=f"{RULE}~{run}", n=0, **place)
    (decision,) = bus.decisions([origin])[origin]
    assert decision.verdict == "redact"
    (delivery,) = bus.delivered("roads", [decision.id])
    assert said(delivery, "ce_id")
    assert listed(city, "agents.lutece") == {}


def test_what_tells_no_origin_is_not_proposed_again(city, service, bus):
    bus.raw(bus.known_subjects(1)[0], b"garbage", [("ce_id", b"x")])
    bus.flush()
    found = {}
    until = time.monotonic() + 30
    while not found:
        assert time.monotonic() < until
        found = listed(city, "gate")
    answer = deadletters(city, service, "replay", *found, "--owner", "gate", "--cause", "contract-mended")
    assert (answer.returncode, "no replay makes it readable" in answer.stderr) == (2, True)
