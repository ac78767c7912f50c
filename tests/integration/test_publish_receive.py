"""Both ends of the bus on a real broker: what a department publishes, and what it finds in its inbox."""

import csv
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import SerializationContext
from typer.testing import CliRunner

from faults.citizens import Ends
from lutece.reports import COLUMNS, MAPPING, invent_reports
from passerelle.cli import publish as publish_command
from passerelle.envelope import Event, Proposal, delivery_headers
from passerelle.publish.csv_import import CsvImport, Tally
from passerelle.publish.mapping import load_mapping
from passerelle.publish.outgoing import Outgoing, PublishFault
from passerelle.publish.producer import DepartmentProducer
from passerelle.publish.subjects import Drawn
from passerelle.receive.delivery import Delivery, InboxFault
from passerelle.receive.inbox import InboxReader
from passerelle_consent.wire import Origin
from passerelle_schemas.topics import inbox, outbox, partition_of

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

TARIFF = "schools.meal-tariff.v1"
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
POOL = [bytes([n]) * 16 for n in range(1, 20)]
WAIT_S = 10


@pytest.fixture(scope="module")
def catalogue(city):
    return city.manifest.policy_bundle().catalogue


@pytest.fixture(scope="module")
def gate(city):
    """Transactional, as the gate's producers are: nobody else may write to an inbox."""
    producer = Producer({**city.access("gate").confluent(), "transactional.id": "gate-0"})
    producer.init_transactions(WAIT_S)
    return producer


def deliver(gate, catalogue, number: int, *, flow="meal-tariff.schools", value=None) -> bytes:
    """Write delivery ``number`` in the open transaction; return its decision id."""
    event = Event(id=f"e-{number}", source="/department/tax", type=TARIFF, time="2026-11-23T09:00:00.000Z")
    origin = Origin(rule="r", topic="outbox.tax.income-assessed", partition=0, offset=number, n=0)
    decision = number.to_bytes(16)
    proposal = Proposal(event=event, flow=flow, origin=origin)
    headers = delivery_headers(proposal, decision=decision, purpose="dpv:PersonalisedBenefits", policy=bytes(32))
    key = POOL[number % len(POOL)]
    gate.produce(
        inbox("schools"),
        catalogue.by_type(TARIFF).encode({"tariff_band": "D"}) if value is None else value,
        key,
        partition_of(key, 4),
        headers=headers,
    )
    return decision


def commit(city, gate) -> None:
    """Commit, and wait until everybody sees it: the coordinator answers before the partitions have their markers."""
    gate.commit_transaction(WAIT_S)
    ends, until = Ends(city.access("admin")), time.monotonic() + WAIT_S
    try:
        for partition in range(city.manifest.partitions):
            while ends.stable(inbox("schools"), partition) < ends.end(inbox("schools"), partition):
                assert time.monotonic() < until
                time.sleep(0.01)
    finally:
        ends.close()


async def read(city, catalogue, *, group, limit=None, handler=None):
    found: list[Delivery] = []

    async def keep(delivery):
        if handler is not None:
            handler(delivery)
        found.append(delivery)

    access = city.access("observer") if group else city.access("schools")
    async with InboxReader(access, "schools", catalogue, group=group) as reader:
        await reader.handle(keep, on_erased=_ignore, follow=False, limit=limit)
        return found, reader.duplicates


def outbox_records(city, topic, count):
    consumer = Consumer(
        {**city.access("admin").confluent(), "group.id": f"look-{topic}", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    try:
        return consumer.consume(count, WAIT_S)
    finally:
        consumer.close()


async def test_a_department_publishes_to_its_own_outbox(city, catalogue):
    contract = catalogue.by_type("tax.income-assessed.v1")
    async with DepartmentProducer(city.access("tax"), "tax", catalogue) as producer:
        place = await producer.publish(contract.type, POOL[0], contract.example, event_id="one", time=NOW)
        many = [
            producer.prepare(
                Outgoing(type=contract.type, pseudonym=key, value=contract.example, event_id=f"m{n}", time=NOW), tag=n
            )
            for n, key in enumerate(POOL * 200)
        ]
        placed = [p async for p in producer.publish_all(many)]
    topic = outbox("tax", "income-assessed")
    assert place == (topic, partition_of(POOL[0], 4), 0)
    assert [p.tag for p in placed] == list(range(len(many)))
    assert all(p.partition == partition_of(POOL[p.tag % len(POOL)], 4) for p in placed)
    records = outbox_records(city, topic, 50)
    assert all(catalogue.decode(r.value())[0].type == contract.type for r in records)
    assert all(dict(r.headers())["ce_source"] == b"/department/tax" for r in records)


async def test_nobody_publishes_for_another(city, catalogue):
    example = catalogue.by_type("tax.income-assessed.v1").example
    for other in ("civil-registry", "parks"):  # one that publishes, one that only receives
        async with DepartmentProducer(city.access(other), "tax", catalogue) as producer:
            with pytest.raises(PublishFault, match=f"does not let {other} write"):
                await producer.publish("tax.income-assessed.v1", POOL[0], example, event_id="x", time=NOW)
    with pytest.raises(PublishFault, match="does not let observer publish"):
        async with DepartmentProducer(city.access("observer"), "tax", catalogue):
            pass


async def test_a_wrong_password_is_one_line(city, catalogue, monkeypatch):
    monkeypatch.setattr("passerelle.publish.producer.FIRST_PAUSE_S", 0.01)
    access = city.access("tax")
    wrong = type(access)(bootstrap_servers=access.bootstrap_servers, username="tax", password="wrong")
    with pytest.raises(PublishFault, match=r"the broker cannot be used") as fault:
        async with DepartmentProducer(wrong, "tax", catalogue):
            pass
    assert "city apply" in fault.value.hint


async def test_a_file_twice_is_twice_as_many_events(city, catalogue, tmp_path):
    path = tmp_path / "reports.csv"
    write(path, invent_reports(1200))
    mapping, _ = load_mapping(MAPPING, catalogue)
    async with DepartmentProducer(city.access("citizen-desk"), "citizen-desk", catalogue) as producer:
        for publication in ("first", "second"):
            job = CsvImport(path=path, mapping=mapping, publication=publication, now=lambda: NOW)
            tally = Tally()
            async for outcome in job.run(producer, Drawn("id_dmr", "s", POOL)):
                tally.add(outcome)
            assert (tally.input_rows, tally.published, tally.all_went) == (1200, 1200, True)
    records = outbox_records(city, outbox("citizen-desk", "report-filed"), 2400)
    ids = [dict(record.headers())["ce_id"] for record in records]
    assert len(set(ids)) == len(ids) == 2400


def write(path, rows):
    with path.open("w", newline="") as text:
        writer = csv.DictWriter(text, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def test_the_command_names_what_did_not_go_and_exits_1(city, tmp_path, monkeypatch):
    for name, value in city.env().items():
        monkeypatch.setenv(name, value)
    rows = list(invent_reports(20))
    rows[4]["datedecl"] = "hier"
    write(tmp_path / "reports.csv", rows)
    (tmp_path / "pool.csv").write_text("\n".join(p.hex() for p in POOL))
    arguments = [
        "csv", str(tmp_path / "reports.csv"), "--mapping", str(MAPPING), "--department", "citizen-desk",
        "--subjects", str(tmp_path / "pool.csv"),
    ]  # fmt: skip
    said = CliRunner().invoke(publish_command.app, arguments)
    assert said.exit_code == 1, said.output
    assert "20 rows read, 19 published, 1 rejected" in said.output
    assert f"{tmp_path / 'reports.csv'}: row 6, column datedecl: is not a date as %Y-%m-%d" in said.output
    as_json = CliRunner().invoke(publish_command.app, [*arguments, "--json"])
    summary = json.loads(as_json.stdout)
    assert (summary["published"], summary["rejected"], summary["broken_at_row"]) == (19, 1, None)
    with Path(summary["rejects"]).open() as report:
        assert list(csv.reader(report)) == [
            ["row", "column", "problem"],
            ["6", "datedecl", "is not a date as %Y-%m-%d"],
        ]


async def test_the_inbox_shows_what_was_committed_and_once(city, catalogue, gate):
    gate.begin_transaction()
    committed = [deliver(gate, catalogue, n) for n in range(1, 31)]
    commit(city, gate)
    gate.begin_transaction()
    for n in range(31, 41):
        deliver(gate, catalogue, n)
    gate.flush(WAIT_S)
    gate.abort_transaction(WAIT_S)
    gate.begin_transaction()
    deliver(gate, catalogue, 7)
    commit(city, gate)

    found, duplicates = await read(city, catalogue, group=None)
    assert sorted(d.decision_id for d in found) == committed
    assert duplicates == 1
    first = found[0]
    assert first.pseudonym == POOL[int.from_bytes(first.decision_id) % len(POOL)]
    assert (first.flow, first.purpose, first.type) == ("meal-tariff.schools", "dpv:PersonalisedBenefits", TARIFF)
    assert first.value == {"tariff_band": "D"}
    assert first.time == NOW
    assert (await read(city, catalogue, group=None))[0] == [], "the first reader committed its offsets"


async def test_an_open_transaction_is_neither_shown_nor_waited_for(city, catalogue, gate):
    gate.begin_transaction()
    deliver(gate, catalogue, 100)
    gate.flush(WAIT_S)
    assert (await read(city, catalogue, group=None))[0] == []
    commit(city, gate)
    found, _ = await read(city, catalogue, group=None)
    assert [d.decision_id for d in found] == [(100).to_bytes(16)]


async def test_a_handler_that_fails_gets_its_delivery_again_and_no_other(city, catalogue, gate):
    gate.begin_transaction()
    ids = [deliver(gate, catalogue, n) for n in range(200, 210)]
    commit(city, gate)
    handled = []

    def fail_at_the_fourth(delivery):
        if len(handled) == 3:
            raise RuntimeError
        handled.append(delivery.decision_id)

    with pytest.raises(RuntimeError):
        await read(city, catalogue, group=None, handler=fail_at_the_fourth)
    found, _ = await read(city, catalogue, group=None)
    assert sorted(handled + [d.decision_id for d in found]) == ids


async def test_a_limit_leaves_the_rest_for_later(city, catalogue, gate):
    gate.begin_transaction()
    ids = [deliver(gate, catalogue, n) for n in range(300, 306)]
    commit(city, gate)
    some, _ = await read(city, catalogue, group=None, limit=2)
    rest, _ = await read(city, catalogue, group=None)
    assert len(some) == 2
    assert sorted(d.decision_id for d in some + rest) == ids


async def test_nobody_reads_another_inbox(city, catalogue):
    with pytest.raises(InboxFault, match="does not let police read"):
        async with InboxReader(city.access("police"), "schools", catalogue) as reader:
            await reader.handle(_ignore, on_erased=_ignore, follow=False)


async def _ignore(delivery):
    raise AssertionError


async def test_what_no_gate_wrote_stops_the_reader_where_it_stands(city, catalogue, gate):
    gate.begin_transaction()
    deliver(gate, catalogue, 400, value=b"garbage")
    commit(city, gate)
    for _ in range(2):
        with pytest.raises(InboxFault, match=r"inbox\.schools\[[0-3]\]@[0-9]+: "):
            await read(city, catalogue, group=None)


@pytest.fixture
def registry(city):
    """`passerelle contracts serve`, a process of its own, and confluent-kafka's client of it."""
    command = [sys.executable, "-m", "passerelle.cli", "contracts", "serve", "--port", "0"]
    serving = subprocess.Popen(command, env={**os.environ, **city.env()}, stderr=subprocess.PIPE, text=True)
    try:
        ready = json.loads(serving.stderr.readline())
        assert ready["event"] == "ready"
        with SchemaRegistryClient({"url": ready["address"]}) as client:
            yield client
    finally:
        serving.terminate()
        serving.communicate(timeout=WAIT_S)


def test_confluents_own_client_writes_to_an_outbox_and_reads_an_inbox(city, catalogue, gate, registry):
    contract = catalogue.by_type("tax.income-assessed.v1")
    topic = outbox("tax", "income-assessed")
    value = contract.decode(contract.encode(contract.example))
    written = AvroSerializer(registry, json.dumps(contract.schema))(value, SerializationContext(topic, "value"))
    failed: list[object] = []
    producer = Producer(city.access("tax").confluent())
    producer.produce(topic, written, POOL[0], on_delivery=lambda error, _: failed.append(error) if error else None)
    assert producer.flush(WAIT_S) == 0
    assert failed == []
    assert catalogue.decode(written) == (contract, value)

    gate.begin_transaction()
    deliver(gate, catalogue, 9_000)
    commit(city, gate)
    alone = {"group.id": inbox("schools"), "enable.auto.commit": False}
    reader = Consumer({**city.access("schools").confluent(), **alone})
    read = AvroDeserializer(registry)
    place = TopicPartition(inbox("schools"), partition_of(POOL[9_000 % len(POOL)], 4), 0)
    reader.assign([place])
    found, until = None, time.monotonic() + WAIT_S
    try:
        while found is None and time.monotonic() < until:
            for record in reader.consume(10, 1):
                assert record.error() is None
                if dict(record.headers())["ce_decisionid"] == (9_000).to_bytes(16).hex().encode():
                    found = read(record.value(), SerializationContext(record.topic(), "value"))
    finally:
        reader.close()
    assert found == {"tariff_band": "D"}
