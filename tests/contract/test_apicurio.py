"""Apicurio Registry as it is released: the contracts under the ids of the lock, and Confluent's clients read by it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from passerelle.external_registry import agree
from passerelle_schemas.catalogue import Catalogue
from passerelle_schemas.contract import contract_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

CATALOGUE = Catalogue.load(Path(__file__).parents[2] / "schemas/contracts")
TYPE = "tax.income-assessed.v1"
TOPIC = "outbox.tax.income-assessed"
VERSION = "3.0.9"
"""The newest that runs on Java 17, as the broker does; 3.3 asks for 21."""
ARTIFACT = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:2.8"
"""It fetches the one file; newer ones want the description of its parent as well, which a mirror may lack."""
HELD = Path.home() / ".m2/repository/io/apicurio/apicurio-registry-app"
STORED = HELD / f"{VERSION}/apicurio-registry-app-{VERSION}-all.tar.gz"
MAVEN_S, START_S = 300, 90


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Unpacked from Maven's own repository on this machine, to which it is fetched once (104 MB)."""
    if shutil.which("mvn") is None or shutil.which("java") is None:
        pytest.skip("Java and Maven are not installed")
    out = tmp_path_factory.mktemp("apicurio")
    command = ["mvn", "-B", "-q", f"{PLUGIN}:get", f"-Dartifact={ARTIFACT}", "-Dtransitive=false"]
    try:
        ran = subprocess.run(command, cwd=out, capture_output=True, text=True, check=False, timeout=MAVEN_S)
    except subprocess.TimeoutExpired:
        pytest.skip(f"Maven did not fetch Apicurio within {MAVEN_S} s")
    if ran.returncode:
        pytest.skip(f"Maven could not fetch Apicurio: {(ran.stdout + ran.stderr).strip().splitlines()[0]}")
    if not STORED.is_file():
        pytest.skip(f"Maven keeps its repository elsewhere: no {STORED}")
    with tarfile.open(STORED) as packed:
        packed.extractall(out, filter="data")
    return out


@pytest.fixture(scope="module")
def registry(folder):
    """Its Confluent API, on an empty registry in memory."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    settings = {"QUARKUS_HTTP_PORT": port, "QUARKUS_HTTP_HOST": "127.0.0.1", "QUARKUS_HTTP_ACCESS_LOG_ENABLED": "false"}
    command = ["java", "-Xmx384m", "-XX:TieredStopAtLevel=1", "-jar", f"apicurio-registry-app-{VERSION}-runner.jar"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env={**os.environ, **settings})
    url = f"http://127.0.0.1:{port}/apis/ccompat/v7"
    try:
        until = time.monotonic() + START_S
        while not up(url):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.2)  # its log has no event to wait for
        yield url
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)


def up(url):
    try:
        return httpx.get(f"{url}/subjects").status_code == 200
    except httpx.HTTPError:
        return False


def test_it_holds_the_contracts_under_their_own_ids_and_keeps_them(registry):
    with pytest.raises(agree.Disagreement, match=r"lutece.citizen_desk.ReportFiled v1 \(id 1\) is not there"):
        agree.require(registry, CATALOGUE)
    put = agree.push(registry, CATALOGUE)
    assert {m.contract.type for m in put.missing} == {contract.type for contract in CATALOGUE}
    assert agree.push(registry, CATALOGUE).settled
    confluent_s_client_reads_and_writes_by_it(registry)
    a_version_that_comes_later_is_put_beside_the_one_before(registry)
    an_id_that_is_taken_there_is_told_and_nothing_is_written(registry)


def confluent_s_client_reads_and_writes_by_it(registry):
    contract = CATALOGUE.by_type(TYPE)
    framed, value = contract.encode(contract.example), contract.decode(contract.encode(contract.example))
    place = SerializationContext(TOPIC, MessageField.VALUE)
    with SchemaRegistryClient({"url": registry}) as client:
        assert AvroDeserializer(client)(framed, place) == value
        settings = {"auto.register.schemas": False, "use.latest.version": True}
        assert AvroSerializer(client, json.dumps(contract.schema), conf=settings)(value, place) == framed


def a_version_that_comes_later_is_put_beside_the_one_before(registry):
    first = CATALOGUE.by_type(TYPE)
    new = {"name": "later", "type": ["null", "string"], "default": None, "passerelle.class": "operational"}
    second = contract_of("tax.income-assessed.v2", 90, {**first.schema, "fields": [*first.schema["fields"], new]})
    put = agree.push(registry, [*CATALOGUE, second])
    assert [(m.subject, m.contract.version) for m in put.missing] == [
        ("lutece.tax.IncomeAssessed", 2),
        (f"{TOPIC}-value", 2),
    ]
    with SchemaRegistryClient({"url": registry}) as client:
        found = [client.get_version(f"{TOPIC}-value", version).schema_id for version in (1, 2)]
        assert [*found, client.get_latest_version(f"{TOPIC}-value").schema_id] == [first.schema_id, 90, 90]


def an_id_that_is_taken_there_is_told_and_nothing_is_written(registry):
    before = httpx.get(f"{registry}/subjects").json()
    first = CATALOGUE.by_type(TYPE)
    other = contract_of("tax.other.v1", first.schema_id, {**first.schema, "name": "Other"})
    moved = replace(CATALOGUE.by_type("schools.meal-tariff.v1"), schema_id=70)
    with pytest.raises(agree.Disagreement, match=r"id 5 is tax\.other\.v1 here, and another schema there") as told:
        agree.push(registry, [other, moved])
    assert "lutece.schools.MealTariff v1 has id 70 here, and 11 there" in str(told.value)
    assert httpx.get(f"{registry}/subjects").json() == before
