"""`passerelle agents replay` on a real broker: today's standing decides, once for each run."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest
from confluent_kafka import Consumer, TopicPartition

from faults.founded import MANIFEST
from lutece.agents import city as agents
from passerelle.city.manifest import Manifest
from passerelle.testkit.real import real_city
from passerelle_consent.policy.decide import Verdict
from passerelle_consent.records.transitions import Action

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

MOVES = "civil-registry.address-changed.v1"
RULE = "lutece.move-schools"
EACH = 5
"""Moves of each citizen."""

FLOWS = 3
"""A move is proposed to tax, schools and cleanliness."""


def now():
    return datetime.now(UTC).isoformat()


class Command:
    """`passerelle agents replay` over the time since ``since``, of one rule."""

    def __init__(self, city, since):
        self.words = ("--from", since, "--to", now(), "--reason", "rule-mended", "--rule", RULE)
        self.words += ("--consent-url", city.url)
        self.env = {**os.environ, "PASSERELLE_HOME": str(city.home.root), "PASSERELLE_MANIFEST": str(MANIFEST)}

    def start(self, *more):
        command = [sys.executable, "-m", "passerelle.cli", "agents", "replay", *self.words, *more]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.env)

    def run(self, *more):
        process = self.start(*more)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said
        return said


def proposals(city, partitions):
    """How many there are on the exchange."""
    consumer = Consumer({**city.broker.access("admin").confluent(), "group.id": "look"})
    try:
        ends = [consumer.get_watermark_offsets(TopicPartition("exchange", p), timeout=10) for p in range(partitions)]
    finally:
        consumer.close()
    return sum(end for _, end in ends)


def told(outcomes):
    return sorted((o.who, o.flow, o.verdict) for o in outcomes)


def test_today_s_standing_decides_history_and_each_run_decides_it_once():
    manifest = Manifest.load(MANIFEST)
    with real_city(manifest, "lutece.agents", agents.plan(), lambda _: None) as city:
        since = now()
        for who in ("anna", "zoe"):
            city.citizen(who, minor_until_ms=None, protection=None, guardians=())
        city.say("zoe", "move-schools", Action.GIVE, by=None)
        for who in ("anna", "zoe") * EACH:
            city.publish(MOVES, who)
        first = [o for o in city.outcomes(2 * EACH * FLOWS) if o.flow == "move.schools"]
        assert (
            told(first)
            == [("anna", "move.schools", Verdict.DENY)] * EACH + [("zoe", "move.schools", Verdict.PERMIT)] * EACH
        )
        city.say("anna", "move-schools", Action.GIVE, by=None)
        city.say("zoe", "move-schools", Action.WITHDRAW, by=None)

        command = Command(city, since)
        shown = command.run()
        assert "at most 10 records" in shown
        assert "→ schools" in shown
        assert "nothing was done" in shown
        assert city.outcomes(0) == []

        # Killed as soon as some of it is on the exchange, begun anew, and then once more.
        before = proposals(city, manifest.partitions)
        killed = command.start("--yes")
        while proposals(city, manifest.partitions) == before and killed.poll() is None:
            time.sleep(0.05)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        assert killed.returncode == -signal.SIGKILL
        assert "10 proposals" in command.run("--yes")
        assert "ledger entry" in command.run("--yes")
        again = told(city.outcomes(2 * EACH))
        assert (
            again == [("anna", "move.schools", Verdict.PERMIT)] * EACH + [("zoe", "move.schools", Verdict.DENY)] * EACH
        )

        # Another word is another run.
        command.run("--yes", "--again", "once-more")
        assert told(city.outcomes(2 * EACH)) == again
