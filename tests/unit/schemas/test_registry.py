"""The registry, asked by the client that people really use: confluent-kafka's own."""

import json
import threading
from pathlib import Path

import pytest
import uvicorn
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, record_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext
from starlette.testclient import TestClient

from passerelle.registry import BODY_BYTES_MAX, application
from passerelle_schemas.catalogue import Catalogue
from passerelle_schemas.registry import Registry, subjects_of

CATALOGUE = Catalogue.load(Path(__file__).parents[3] / "schemas/contracts")
MOVED = CATALOGUE.by_type("civil-registry.address-changed.v1")
OUTBOX = "outbox.civil-registry.address-changed"
SUBJECT = f"{OUTBOX}-value"
APP = application(Registry(CATALOGUE))

contracts = pytest.mark.parametrize("contract", list(CATALOGUE), ids=lambda c: c.type)


@pytest.fixture(scope="module")
def url():
    """The registry on a socket of its own: the client makes its connections itself."""
    server = uvicorn.Server(uvicorn.Config(APP, port=0, log_level="error"))
    started = threading.Event()
    startup = server.startup

    async def tell(sockets=None):
        await startup(sockets)
        started.set()

    server.startup = tell
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert started.wait(10)
    host, port = server.servers[0].sockets[0].getsockname()
    yield f"http://{host}:{port}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def client(url):
    with SchemaRegistryClient({"url": url, "max.retries": 0}) as opened:
        yield opened


def ask(method, path, body=None):
    content = body if body is None or isinstance(body, bytes) else json.dumps(body)
    answer = TestClient(APP, raise_server_exceptions=False).request(method, path, content=content)
    assert answer.headers["content-type"] == "application/vnd.schemaregistry.v1+json"
    return answer.status_code, answer.json()


@contracts
def test_confluents_deserializer_reads_what_the_bus_writes(client, contract):
    read = AvroDeserializer(client)
    value = contract.encode(contract.example)
    context = SerializationContext(f"inbox.{contract.department}", MessageField.VALUE)
    assert read(value, context) == contract.decode(value)


@contracts
def test_confluents_serializer_writes_what_the_bus_reads_and_registers_nothing(client, contract):
    """By default it registers what it writes: what is published already is told its id, and nothing else."""
    options = {} if not contract.derived else {"subject.name.strategy": record_subject_name_strategy}
    write = AvroSerializer(client, json.dumps(contract.schema), conf=options)
    context = SerializationContext(f"outbox.{contract.department}.{contract.event}", MessageField.VALUE)
    value = contract.decode(contract.encode(contract.example))
    assert CATALOGUE.decode(write(value, context)) == (contract, value)


def test_the_client_finds_subjects_versions_and_promises(client):
    assert set(client.get_subjects()) == {s for c in CATALOGUE for s in subjects_of(c)}
    assert client.get_versions(SUBJECT) == [1]
    latest = client.get_latest_version(SUBJECT)
    assert (latest.schema_id, latest.version) == (MOVED.schema_id, 1)
    assert json.loads(client.get_version(SUBJECT, 1).schema.schema_str) == MOVED.schema
    assert client.lookup_schema(SUBJECT, latest.schema).schema_id == MOVED.schema_id
    assert client.get_compatibility(SUBJECT) == "FULL"
    assert client.get_compatibility() == "BACKWARD"


def test_a_schema_is_found_by_its_shape_and_words_do_not_count(client):
    plain = {"type": "record", "name": "AddressChanged", "namespace": "lutece.civil_registry"}
    plain["fields"] = [{"name": f["name"], "type": f["type"]} for f in MOVED.schema["fields"]]
    assert client.lookup_schema(SUBJECT, Schema(json.dumps(plain), "AVRO")).schema_id == MOVED.schema_id


def test_the_client_is_told_what_would_break_a_promise(client):
    fine = {
        **MOVED.schema,
        "fields": [*MOVED.schema["fields"], {"name": "lift", "type": ["null", "int"], "default": None}],
    }
    broken = {**MOVED.schema, "fields": MOVED.schema["fields"][1:]}
    assert client.test_compatibility(SUBJECT, Schema(json.dumps(fine), "AVRO"))
    assert not client.test_compatibility(SUBJECT, Schema(json.dumps(broken), "AVRO"))
    status, said = ask(
        "POST", f"/compatibility/subjects/{SUBJECT}/versions/latest?verbose=true", {"schema": json.dumps(broken)}
    )
    assert (status, said["is_compatible"]) == (200, False)
    assert any("v1 cannot read the proposed one: moved_on" in message for message in said["messages"])


def test_the_client_gets_its_own_errors(client):
    with pytest.raises(SchemaRegistryError) as caught:
        client.get_latest_version("nobody-value")
    assert (caught.value.http_status_code, caught.value.error_code) == (404, 40401)
    new = {"type": "record", "name": "New", "fields": [{"name": "a", "type": "int"}]}
    with pytest.raises(SchemaRegistryError) as caught:
        client.register_schema(SUBJECT, Schema(json.dumps(new), "AVRO"))
    assert (caught.value.http_status_code, caught.value.error_code) == (422, 42205)


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("GET", "/schemas/ids/99", None, 40403),
        ("GET", "/schemas/ids/one", None, 40403),
        ("GET", f"/schemas/ids/{'9' * 5000}", None, 40403),
        ("GET", "/subjects/nobody/versions", None, 40401),
        ("GET", f"/subjects/{SUBJECT}/versions/2", None, 40402),
        ("GET", f"/subjects/{SUBJECT}/versions/0", None, 42202),
        ("GET", f"/subjects/{SUBJECT}/versions/newest", None, 42202),
        ("GET", "/config/nobody", None, 40408),
        ("POST", f"/subjects/{SUBJECT}", {"schema": '"string"'}, 42201),
        ("POST", f"/subjects/{SUBJECT}", {"schema": "{"}, 42201),
        ("POST", f"/subjects/{SUBJECT}", {"schema": '{"type": "record"}'}, 42201),
        ("POST", f"/subjects/{SUBJECT}", {"schema": "[" * 100_000}, 42201),
        ("POST", f"/subjects/{SUBJECT}", {"schema": "{}", "schemaType": "PROTOBUF"}, 42201),
        ("POST", f"/subjects/{SUBJECT}", b"{", 42201),
        ("POST", f"/subjects/{SUBJECT}", [], 42201),
        ("POST", f"/subjects/{SUBJECT}", b"x" * (BODY_BYTES_MAX + 1), 413),
        ("PUT", "/config", {"compatibility": "NONE"}, 42205),
        ("DELETE", f"/subjects/{SUBJECT}", None, 42205),
        ("GET", "/nowhere", None, 404),
        ("PATCH", "/subjects", None, 405),
    ],
)
def test_every_no_has_the_registrys_shape(method, path, body, code):
    status, said = ask(method, path, body)
    assert (said["error_code"], set(said)) == (code, {"error_code", "message"})
    assert status == (code // 100 if code > 999 else code)


def test_what_else_a_client_may_read():
    assert ask("GET", "/") == (200, {})
    assert ask("GET", "/schemas/types") == (200, ["AVRO"])
    assert ask("GET", "/mode") == (200, {"mode": "READONLY"})
    assert ask("GET", "/schemas/ids/2/schema") == (200, MOVED.schema)
    assert ask("GET", f"/subjects/{SUBJECT}/versions/-1/schema") == (200, MOVED.schema)
    assert ask("GET", "/schemas/ids/2/versions") == (
        200, [{"subject": MOVED.name, "version": 1}, {"subject": SUBJECT, "version": 1}]
    )  # fmt: skip
    assert ask("GET", "/subjects?subjectPrefix=outbox.tax") == (200, ["outbox.tax.income-assessed-value"])
