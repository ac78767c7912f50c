"""Putting a worker together: what the cluster must have, and how long it is waited for."""

import pytest
from confluent_kafka import KafkaError
from typer.testing import CliRunner

from faults.founded import MANIFEST
from passerelle.city.manifest import Manifest
from passerelle.cli import gate
from passerelle.gate import run
from passerelle.gate.worker import GaveUp
from unit.gate.fake import failing


@pytest.fixture(scope="module")
def manifest():
    return Manifest.load(MANIFEST)


def topics(manifest, **differing):
    names = ["exchange", "consent", "decisions", "marks", "fence", *(f"inbox.{d}" for d in manifest.department_ids)]
    return dict.fromkeys(names, manifest.partitions) | differing


def test_a_cluster_like_the_manifest_will_do(manifest):
    run._check(topics(manifest), manifest)


@pytest.mark.parametrize("partitions", [0, 1, 400])
@pytest.mark.parametrize("topic", ["consent", "inbox.roads"])
def test_topics_that_are_partitioned_otherwise_are_refused(manifest, topic, partitions):
    with pytest.raises(run.NotThisCity, match=f"{topic} has {partitions} partitions"):
        run._check(topics(manifest, **{topic: partitions}), manifest)


class Silent:
    def probe(self):
        return self

    def list_topics(self, **_):
        raise failing(KafkaError._TRANSPORT)

    def close(self):
        pass


def test_a_broker_that_never_answers_ends_the_process_with_75(monkeypatch):
    monkeypatch.setattr(run, "REACH_S", 0)
    monkeypatch.setattr(run, "ASK_AGAIN_S", 0)
    with pytest.raises(GaveUp) as raised:
        run._partitions(Silent())
    assert raised.value.exit_code == 75


def test_the_command_says_what_it_can_be_told():
    said = CliRunner().invoke(gate.app, ["run", "--help"], env={"COLUMNS": "200"}).output
    assert all(option in said for option in ("--worker", "--interval-ms", "--session-ms", "--transaction-timeout-ms"))
