from dataclasses import dataclass, field
from pathlib import Path

import pytest

from passerelle.city.desired import Acl, desired, outbox_retentions
from passerelle.city.manifest import DAY_MS, Manifest
from passerelle_schemas.topics import CONSENT, DECISIONS, EXCHANGE, FENCE, JOURNAL, MARKS, dead_letter, inbox, relayed

MANIFEST = Path(__file__).parents[3] / "deploy/city.yaml"


@dataclass(frozen=True)
class Needs:
    """What an app of agents declares."""

    app_id: str = "agents.lutece"
    outboxes: tuple[str, ...] = ("outbox.tax.income-assessed",)
    join_logs: tuple[str, ...] = ("agents.lutece.meal-tariff.log",)
    dead_letter: str = "deadletter.agents.lutece"
    retention_ms: dict[str, int] = field(default_factory=lambda: {"agents.lutece.meal-tariff.log": 9 * DAY_MS})


@pytest.fixture(scope="module")
def manifest():
    return Manifest.load(MANIFEST)


@pytest.fixture(scope="module")
def wanted(manifest):
    return desired(manifest, manifest.policy_bundle().catalogue, {manifest.agents[0]: Needs()})


def may(wanted, operation, resource="TOPIC"):
    """(principal, name) of every right of that kind."""
    return {(a.principal, a.name) for a in wanted.acls if (a.operation, a.resource) == (operation, resource)}


def test_every_right_is_a_literal_permission_on_a_topic_group_or_transaction(wanted):
    assert {(a.pattern, a.permission, a.host) for a in wanted.acls} == {("LITERAL", "ALLOW", "*")}
    assert {a.resource for a in wanted.acls} == {"TOPIC", "GROUP", "TRANSACTIONAL_ID"}
    assert {a.operation for a in wanted.acls} == {"READ", "WRITE", "DESCRIBE"}
    assert {a.principal for a in wanted.acls if a.operation == "DESCRIBE"} == {"control-room"}
    assert not any("*" in a.name for a in wanted.acls)


def test_rights_name_topics_that_exist_and_users_that_exist(wanted):
    assert {a.name for a in wanted.acls if a.resource == "TOPIC"} <= wanted.topics.keys()
    assert {a.principal for a in wanted.acls} <= wanted.users
    assert not wanted.users & {"admin", "broker", "controller"}


def test_only_the_gate_writes_an_inbox(wanted, manifest):
    writers = {(p, t) for p, t in may(wanted, "WRITE") if t.startswith("inbox.")}
    assert writers == {("gate", inbox(d)) for d in manifest.department_ids}


@pytest.mark.parametrize(
    ("topic", "writers"),
    [
        (EXCHANGE, {"agents.lutece"}),
        (CONSENT, {"consent"}),
        (JOURNAL, {"consent"}),
        (DECISIONS, {"gate"}),
        (MARKS, {"gate"}),
        (FENCE, {"gate"}),
        ("deadletter.gate", {"gate"}),
        ("deadletter.agents.lutece", {"agents.lutece"}),
        ("deadletter.tax", {"tax"}),
        ("relayed.tax", {"tax"}),
        ("outbox.tax.income-assessed", {"tax"}),
    ],
)
def test_each_topic_has_one_writer(wanted, topic, writers):
    assert {p for p, t in may(wanted, "WRITE") if t == topic} == writers


def test_a_department_reads_its_inbox_in_its_group_its_dead_letters_and_nothing_else(wanted, manifest):
    for department in manifest.department_ids:
        mine = {(a.resource, a.name) for a in wanted.acls if a.principal == department and a.operation == "READ"}
        topics = {("TOPIC", inbox(department)), ("TOPIC", dead_letter(department))}
        own = {("TOPIC", name) for name in [relayed(department)] if name in wanted.topics}
        assert mine == {*topics, *own, ("GROUP", inbox(department))}


def test_a_department_writes_the_outboxes_of_its_original_events_and_its_dead_letters(wanted):
    assert {t for p, t in may(wanted, "WRITE") if p == "civil-registry"} == {
        "deadletter.civil-registry",
        "outbox.civil-registry.address-changed",
        "outbox.civil-registry.birth-registered",
        "outbox.civil-registry.household-changed",
        "relayed.civil-registry",
    }
    # Its events are made by agents.
    assert {t for p, t in may(wanted, "WRITE") if p == "schools"} == {"deadletter.schools"}


def test_transactional_ids_are_the_gates_one_for_each_partition_and_one_of_each_relay(wanted, manifest):
    tasks = {("gate", f"gate-{i}") for i in range(manifest.partitions)}
    publishers = {d for d in manifest.department_ids for t in wanted.topics if t.startswith(f"outbox.{d}.")}
    relays = {("consent", "consent-relay"), *((d, f"outbox-{d}") for d in publishers)}
    assert may(wanted, "WRITE", "TRANSACTIONAL_ID") == tasks | relays


def test_agents_read_what_they_declare_and_never_what_was_decided(wanted):
    reads = {t for p, t in may(wanted, "READ") if p == "agents.lutece"}
    assert reads == {"outbox.tax.income-assessed", "agents.lutece.meal-tariff.log"}


def test_nobody_but_gate_and_consent_reads_standings(wanted):
    assert {p for p, t in may(wanted, "READ") if t == CONSENT} == {"gate"}
    assert {p for p, t in may(wanted, "READ") if t == JOURNAL} == {"ledger"}


def test_the_observer_only_reads_and_exists_only_when_wanted(wanted, manifest):
    assert {a.operation for a in wanted.acls if a.principal == "observer"} == {"READ"}
    fields = {**manifest.__dict__, "observer": False}
    without = desired(Manifest(**fields), manifest.policy_bundle().catalogue, {manifest.agents[0]: Needs()})
    assert "observer" not in without.users
    assert not [a for a in without.acls if a.principal == "observer"]


def test_partition_i_of_one_is_partition_i_of_all(wanted, manifest):
    for name, topic in wanted.topics.items():
        assert topic.partitions == (1 if name.startswith(("deadletter.", "relayed.")) else manifest.partitions), name


def test_settings_of_each_kind(wanted):
    settings = {name: topic.config for name, topic in wanted.topics.items()}
    for name in (CONSENT, MARKS, FENCE):
        assert settings[name]["cleanup.policy"] == "compact"
        assert "max.compaction.lag.ms" in settings[name]
    for name, config in settings.items():
        appended = config.get("message.timestamp.type") == "LogAppendTime"
        about_somebody = config["cleanup.policy"] == "delete" and not name.startswith("deadletter.")
        assert appended == about_somebody, name
        assert config["max.message.bytes"] == "1048576"
    assert settings[JOURNAL]["retention.ms"] == str(26 * DAY_MS)
    assert settings[EXCHANGE]["retention.ms"] == str(3 * DAY_MS)
    assert settings["outbox.social-action.frail-registered"]["retention.ms"] == str(7 * DAY_MS)
    assert settings["agents.lutece.meal-tariff.log"]["retention.ms"] == str(9 * DAY_MS)


def test_records_about_somebody_are_gone_within_the_shortest_month(wanted):
    """A record goes with its segment: when that was written to for segment.ms, and its last record is too old."""
    for name, topic in wanted.topics.items():
        if topic.config["cleanup.policy"] == "delete" and not name.startswith("deadletter."):
            assert int(topic.config["retention.ms"]) + int(topic.config["segment.ms"]) < 28 * DAY_MS, name


def test_an_outbox_keeps_as_long_as_the_longest_of_its_events_versions():
    @dataclass(frozen=True)
    class Version:
        retention: str
        department: str = "tax"
        event: str = "income-assessed"
        derived: bool = False

    def kept(*retentions):
        return outbox_retentions([Version(r) for r in retentions])["outbox.tax.income-assessed"]

    assert kept("P7D", "P30D", "P14D") == 30 * DAY_MS
    assert kept("forever", "P30D") == kept("P30D", "forever") == -1


def test_rights_sort_and_compare_by_value():
    one = Acl(principal="tax", operation="READ", resource="TOPIC", name="inbox.tax")
    assert len({one, Acl(principal="tax", operation="READ", resource="TOPIC", name="inbox.tax")}) == 1
