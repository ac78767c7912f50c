"""The broker and the city's way onto it, for real: started, killed, started again; planned, applied, mended."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from conftest import RunningCity, start_broker
from faults.founded import KAFKA_DIR, PROJECT
from passerelle.city import cluster, process
from passerelle.city.apply import City, NotApplied
from passerelle.city.broker import Broker, State
from passerelle.city.manifest import DAY_MS
from passerelle.city.plan import Alter, Create, Revoke, SetPassword
from passerelle.config import Home
from passerelle_schemas.faults import Fault

pytestmark = pytest.mark.broker

SECONDS_MAX = 30
KEPT = "kept-through-the-crash"


def passerelle(city: RunningCity, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "passerelle.cli", *words],
        env={**os.environ, **city.env()},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def city_of(city: RunningCity) -> City:
    return City(manifest=city.manifest, home=city.home, admin=city.access("admin"))


@pytest.fixture(scope="module")
def admin(city):
    """One client for all: librdkafka drops the calls of a client that nobody holds any more."""
    return AdminClient(city.access("admin").confluent())


def ended(futures: dict) -> None:
    for future in futures.values():
        future.result(SECONDS_MAX)


# --- the city on its broker


def test_the_second_time_nothing_changes(city):
    assert city_of(city).plan().settled
    assert city_of(city).apply().changes == ()


def test_plan_says_what_apply_does_and_does_nothing(city, admin):
    ended(admin.delete_topics(["deadletter.gate"]))
    first, second = city_of(city).plan(), city_of(city).plan()
    assert first == second
    assert [type(change) for change in first.changes] == [Create]
    assert city_of(city).apply().changes == first.changes
    assert city_of(city).plan().settled


@pytest.mark.parametrize(
    ("principal", "name", "pattern"),
    [
        ("tax", "inbox.tax", ResourcePatternType.LITERAL),
        ("stranger", "inbox.", ResourcePatternType.PREFIXED),
        ("*", "*", ResourcePatternType.LITERAL),
    ],
)
def test_a_right_that_goes_around_the_gate_is_taken_away(city, admin, principal, name, pattern):
    opening = AclBinding(
        ResourceType.TOPIC, name, pattern, f"User:{principal}", "*", AclOperation.WRITE, AclPermissionType.ALLOW
    )
    ended(admin.create_acls([opening]))
    [change] = city_of(city).apply().changes
    assert isinstance(change, Revoke)
    assert (change.acl.principal, change.acl.name) == (principal, name)
    assert city_of(city).plan().settled


def test_a_setting_changed_by_hand_is_set_back(city, admin):
    short = [ConfigEntry("retention.ms", "60000", incremental_operation=AlterConfigOpType.SET)]
    resource = ConfigResource(ResourceType.TOPIC, "consent.journal", incremental_configs=short)
    ended(admin.incremental_alter_configs([resource]))
    assert city_of(city).apply().changes == (
        Alter(topic="consent.journal", settings={"retention.ms": ("60000", str(26 * DAY_MS))}),
    )


def test_a_new_key_file_becomes_the_password(city):
    (city.home.keys / "principals/observer.secret").unlink()
    assert city_of(city).apply().changes == (SetPassword(user="observer", why="its key file is new"),)
    cluster.connect(city.access("observer"))


def test_another_partition_count_is_refused_and_nothing_is_applied(city, admin):
    ended(admin.delete_topics(["deadletter.gate"]))
    other = replace(city_of(city), manifest=replace(city.manifest, partitions=8))
    with pytest.raises(NotApplied, match="has 4 partitions, the manifest says 8"):
        other.apply()
    assert [type(change) for change in city_of(city).apply().changes] == [Create]


def test_a_broken_file_applies_nothing(city, tmp_path, admin):
    ended(admin.delete_topics(["deadletter.gate"]))
    (tmp_path / "x.yaml").write_text("id: x\n")
    other = replace(city_of(city), manifest=replace(city.manifest, flows=tmp_path))
    with pytest.raises(Fault, match=r"x\.yaml:1: "):
        other.apply()
    assert [type(change) for change in city_of(city).apply().changes] == [Create]


def test_agents_that_cannot_be_imported_are_named(city):
    app = city.manifest.agents[0].model_copy(update={"module": "lutece.nowhere"})
    with pytest.raises(Fault, match=r"agents app lutece: module lutece\.nowhere cannot be imported"):
        replace(city_of(city), manifest=replace(city.manifest, agents=(app,))).plan()


def test_the_commands_say_it_in_json_and_by_exit_code(city, admin):
    plan = passerelle(city, "city", "plan", "--json", "--detailed-exitcode")
    assert (plan.returncode, json.loads(plan.stdout)["changes"]) == (0, []), plan.stderr
    ended(admin.delete_topics(["deadletter.gate"]))
    assert passerelle(city, "city", "plan", "--detailed-exitcode").returncode == 1
    applied = passerelle(city, "city", "apply", "--json")
    assert [change["what"] for change in json.loads(applied.stdout)["changes"]] == ["topic deadletter.gate"]
    status = passerelle(city, "kafka", "status", "--json")
    assert (status.returncode, json.loads(status.stdout)["state"]) == (0, "up")


# --- the broker itself


def test_up_finds_the_broker_that_is_up(city):
    assert start_broker(city.home).pid == city.broker.pid


def test_nobody_connects_without_a_name_on_either_listener(city):
    ports = json.loads((city.home.kafka / "ports.json").read_text())
    for port in ports.values():
        nameless = AdminClient({"bootstrap.servers": f"127.0.0.1:{port}", "log_level": 0})
        with pytest.raises(KafkaException):
            nameless.list_topics(timeout=2)


def test_no_topic_is_made_by_naming_it(city, admin):
    assert admin.list_topics("inbox.nobody", timeout=SECONDS_MAX).topics["inbox.nobody"].error.code() in (
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
    )
    assert "inbox.nobody" not in admin.list_topics(timeout=SECONDS_MAX).topics


def test_no_password_stands_in_a_log_a_command_line_or_an_open_file(city):
    words = [path.read_text().strip() for path in (city.home.keys / "principals").glob("*.secret")]
    assert len(words) >= 18
    command = Path(f"/proc/{city.broker.pid}/cmdline")
    texts = [path.read_text() for path in city.home.kafka.glob("*.log")]
    texts += [command.read_text()] if command.exists() else []
    assert not any(word in text for word in words for text in texts)
    holding = [
        path
        for path in city.home.kafka.iterdir()
        if path.is_file() and any(word in path.read_text(errors="replace") for word in words)
    ]
    assert [path.name for path in holding] == ["server.properties"]
    assert holding[0].stat().st_mode & 0o777 == 0o600


def test_a_wrong_key_folder_is_told_at_once(city, tmp_path):
    stranger = replace(city.access("admin"), password="guess")
    with pytest.raises(cluster.Refused, match="refuses the password of admin"):
        cluster.connect(stranger)


def test_an_existing_cluster_is_recorded_and_never_stopped(city, tmp_path, admin):
    home = Home(root=tmp_path)
    secret = home.keys / "principals/admin.secret"
    secret.parent.mkdir(parents=True)
    secret.write_text(city.access("admin").password)
    secret.chmod(0o600)
    other = Broker.attach(home, city.broker.bootstrap_servers)
    assert (other.pid, other.cluster_id) == (None, city.broker.cluster_id)
    assert Broker.status(home).state is State.EXTERNAL
    other.down()
    assert Broker.status(home).state is State.DOWN
    assert Broker.status(city.home).state is State.UP


def test_after_kill_9_the_broker_comes_back_with_its_data_on_its_port(city, admin):
    ended(admin.create_topics([NewTopic(KEPT, 1, 1)]))
    before = Broker.find(city.home)
    before.kill()
    assert Broker.status(city.home).state is State.CRASHED
    after = start_broker(city.home)
    assert after.pid != before.pid
    assert (after.bootstrap_servers, after.cluster_id) == (before.bootstrap_servers, before.cluster_id)
    assert KEPT in admin.list_topics(timeout=SECONDS_MAX).topics
    assert city_of(city).plan().settled


def failing(home: Home, interrupt: Callable[[str], None] | None = None, **extra: str) -> Broker:
    given = {} if interrupt is None else {"progress": interrupt}
    return Broker.up(home, KAFKA_DIR, heap_mb=256, extra=extra, **given)


def test_a_broker_that_dies_while_starting_is_told_in_one_line(tmp_path):
    home = Home(root=tmp_path)
    with pytest.raises(Fault, match="the broker died while starting: ") as caught:
        failing(home, **{"log.retention.hours": "soon"})
    assert "\n" not in str(caught.value)
    assert "log.retention.hours" in str(caught.value)
    assert Broker.find(home) is None


def test_an_interrupted_start_leaves_nothing_running(tmp_path):
    home = Home(root=tmp_path)
    seen: list[Broker] = []

    def interrupt(step: str) -> None:
        if step.startswith("waiting"):
            seen.append(Broker.find(home))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        failing(home, interrupt)
    assert not process.alive(seen[0].pid, seen[0].born)
    assert Broker.status(home).state is State.DOWN


def test_nobody_at_the_address_is_one_line_within_the_bound(city):
    away = replace(city.access("admin"), bootstrap_servers="127.0.0.1:1")
    with pytest.raises(cluster.Unreachable, match=r"no broker answers at 127\.0\.0\.1:1") as caught:
        cluster.connect(away, seconds_max=1)
    assert caught.value.hint == "passerelle kafka up"
