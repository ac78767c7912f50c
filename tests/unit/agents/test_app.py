"""Declarations as Faust agents, without a broker."""

import json
from types import SimpleNamespace

import pytest
from aiokafka import AIOKafkaConsumer
from typer.testing import CliRunner

from passerelle.agents import AgentApp
from passerelle.agents.transport import Boot, Consumer, ConsumerThread, Producer, Transport
from passerelle.cli.agents import app as command
from passerelle.config import KafkaAccess
from passerelle_schemas.faults import Fault

READ_COMMITTED = "read_committed"


def refuse():
    raise AssertionError("asked before the start")


@pytest.fixture
def routed(catalogue, flows, tmp_path):
    def build(access):
        city = AgentApp(
            "test", catalogue=catalogue, flows=flows, keyring=refuse, access=access, folder=lambda: tmp_path
        )
        frail = city.outbox("social-action.frail-registered.v1")

        @city.route(frail, flow="heat-plan.emergency-desk")
        def heat_plan(_frail):
            return True

        return city

    return build


def test_declaring_reads_no_setting_and_no_key(routed):
    city = routed(refuse)
    assert not city.app.configured
    assert not city.app.agents


def test_finalizing_makes_real_agents_with_the_access_of_the_moment(routed, tmp_path):
    city = routed(lambda: KafkaAccess(bootstrap_servers="127.0.0.1:1,127.0.0.1:2", username="u", password="p"))
    city.app.finalize()
    assert list(city.app.agents) == ["test.heat-plan"]
    conf = city.app.conf
    assert [str(url) for url in conf.broker] == ["kafka://127.0.0.1:1", "kafka://127.0.0.1:2"]
    assert (conf.broker_credentials.username, conf.broker_credentials.mechanism.value) == ("u", "SCRAM-SHA-512")
    assert conf.id == "agents.test"
    assert conf.datadir.parent == tmp_path
    assert isinstance(city.app.transport, Transport)
    assert city.app.transport.Consumer is Consumer
    assert city.app.transport.Producer is Producer
    assert city.app.BootStrategy is Boot
    assert not Boot.enable_web


def test_the_producer_is_idempotent():
    assert Producer._settings_extra(None) == {"acks": "all", "enable_idempotence": True}


async def test_agents_read_what_is_committed_and_nothing_that_a_relay_began_and_died_in(routed):
    city = routed(lambda: KafkaAccess(bootstrap_servers="127.0.0.1:1", username="u", password="p"))
    city.app.finalize()
    assert Consumer._new_consumer_thread.__annotations__["return"] is ConsumerThread
    thread = ConsumerThread.__new__(ConsumerThread)  # not begun: it has no loop to close
    thread.app = city.app
    thread.consumer = SimpleNamespace(in_transaction=False)
    made = thread._create_worker_consumer(city.app.transport)
    try:
        assert isinstance(made, AIOKafkaConsumer)
        assert made._isolation_level == READ_COMMITTED
    finally:
        await made.stop()


def test_the_command_lists_rules_with_their_lineage():
    done = CliRunner().invoke(command, ["list", "lutece.agents", "--json"])
    rules = {rule["rule"]: rule for rule in json.loads(done.stdout)}
    assert rules["lutece.meal-tariff"]["lineage"] == {
        "tariff_band": [
            "civil-registry.household-changed.v1#adults",
            "civil-registry.household-changed.v1#dependants",
            "tax.income-assessed.v1#reference_income_cents",
        ]
    }
    assert rules["lutece.street-report"]["flows"] == [
        f"street-report.{d}" for d in ("cleanliness", "roads", "police", "parks", "lighting", "social-action")
    ]
    assert len(rules) == 9
    table = CliRunner().invoke(command, ["list", "lutece.agents"])
    assert table.exit_code == 0
    assert "lutece.meal-tariff" in table.stdout


@pytest.mark.parametrize(("module", "words"), [("lutece.nothing", "no module"), ("lutece.reports", "no AgentApp")])
def test_a_module_that_holds_no_agents_is_a_fault(module, words):
    fault = CliRunner().invoke(command, ["list", module]).exception
    assert isinstance(fault, Fault)
    assert words in str(fault)
