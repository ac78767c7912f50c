import json
import os
import socket
from pathlib import Path

import pytest

from passerelle.city import broker, node, process
from passerelle.city.broker import Broker, State
from passerelle.config import Home
from passerelle_schemas.faults import Fault

KAFKA_DIR = Path(__file__).parents[3] / "deploy/kafka"
PASSWORDS = node.Passwords(admin="a-1", broker="b-2", controller="c-3")


@pytest.fixture
def home(tmp_path):
    found = Home(root=tmp_path / "home")
    found.kafka.mkdir(parents=True)
    return found


@pytest.fixture
def one(home):
    return node.Node(
        folder=home.kafka, kafka_dir=KAFKA_DIR, java="java", libs=Path("libs"), client_port=20001, controller_port=20002
    )


@pytest.fixture
def taken():
    with socket.create_server((node.HOST, 0)) as listening:
        yield listening.getsockname()[1]


def test_properties_are_private_and_the_extra_ones_come_last(one):
    one.configure(PASSWORDS, {"group.min.session.timeout.ms": "500"})
    assert one.properties.stat().st_mode & 0o777 == 0o600
    lines = one.properties.read_text().splitlines()
    assert lines[-1] == "group.min.session.timeout.ms=500"
    assert "listeners=CLIENT://127.0.0.1:20001,CONTROLLER://127.0.0.1:20002" in lines
    assert "auto.create.topics.enable=false" in lines
    assert "allow.everyone.if.no.acl.found=false" in lines
    assert "super.users=User:admin;User:broker;User:controller" in lines


def test_every_listener_asks_who_it_is(one):
    one.configure(PASSWORDS, {})
    text = one.properties.read_text()
    assert "CLIENT:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT" in text
    assert "PLAINTEXT://" not in text.replace("SASL_PLAINTEXT", "")


def test_the_command_line_holds_no_password(one):
    line = " ".join(one.command(512))
    assert "-Xmx512m" in line
    assert not any(word in line for word in ("a-1", "b-2", "c-3"))


def test_a_password_that_would_need_quoting_is_refused():
    with pytest.raises(Fault, match="password of broker"):
        node.Passwords(admin="a", broker='b"; x', controller="c")


def test_cluster_ids_are_ids_of_kafka_and_no_options():
    for _ in range(200):
        found = node.cluster_id()
        assert len(found) == 22
        assert not found.startswith("-")


def test_a_listening_port_is_not_free_and_another_is_found(taken):
    assert not node.is_free(taken)
    found = node.free_port(but=taken)
    assert found in node.PORTS
    assert node.is_free(found)


@pytest.fixture
def tools(monkeypatch, tmp_path):
    """A machine that has all the programs, so that what comes after them is tried."""
    monkeypatch.setattr(broker.java, "java", lambda: "/bin/false")
    monkeypatch.setattr(broker.java, "jars", lambda *_: tmp_path)


def test_a_taken_port_is_one_line_and_the_command_that_mends_it(home, tools, taken):
    with pytest.raises(Fault, match=f"port {taken} of 127.0.0.1 is taken") as caught:
        Broker.up(home, KAFKA_DIR, port=taken)
    assert caught.value.hint.startswith("passerelle kafka up")


def test_a_full_disk_is_told_before_anything_is_formatted(home, tools):
    with pytest.raises(Fault, match=r"the disk has .* MiB left; the broker wants") as caught:
        Broker.up(home, KAFKA_DIR, free_bytes_min=1 << 62)
    assert "PASSERELLE_HOME" in caught.value.hint
    assert not (home.kafka / "data").exists()


def test_a_format_that_fails_leaves_no_data_and_no_password(home, tools):
    with pytest.raises(Fault, match="could not be formatted"):
        Broker.up(home, KAFKA_DIR, free_bytes_min=0)
    assert not (home.kafka / "data").exists()
    assert not (home.kafka / "format.args").exists()
    assert Broker.status(home).state is State.DOWN


def test_a_home_without_a_record_is_down(home):
    assert Broker.status(home).document() == {"state": "down"}


def test_a_recycled_pid_is_neither_taken_for_the_broker_nor_killed(home):
    record = {"bootstrap_servers": "127.0.0.1:1", "cluster_id": "x", "pid": os.getpid(), "born": "long ago"}
    home.broker_file.write_text(json.dumps(record))
    found = Broker.status(home)
    assert found.state is State.CRASHED
    found.broker.kill()
    found.broker.down()  # this very process lives to tell
    assert Broker.find(home) is None


def test_a_record_that_is_none_is_named(home):
    home.broker_file.write_text("{")
    with pytest.raises(Fault, match="not a record of a broker"):
        Broker.find(home)


def test_two_commands_do_not_start_the_same_broker(home):
    with broker._locked(home.kafka), pytest.raises(Fault, match="another command"):
        Broker.up(home, KAFKA_DIR)


def test_an_existing_cluster_needs_its_administrators_password(home):
    with pytest.raises(Fault, match="password is missing") as caught:
        Broker.attach(home, "127.0.0.1:1")
    assert "admin.secret" in str(caught.value)


def test_a_process_that_ignores_the_first_signal_is_ended_by_the_second(tmp_path):
    out = tmp_path / "out"
    command = ["/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"]
    pid, born = process.start(command, cwd=tmp_path, output=out, environ={"PATH": "/bin:/usr/bin"})
    while not out.read_bytes():
        assert process.alive(pid, born)
    process.stop(pid, born, term_seconds=0.2)
    assert not process.alive(pid, born)
    assert process.birth(pid) is None
