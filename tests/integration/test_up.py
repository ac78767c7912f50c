"""`passerelle up` starts a whole city and says so; `down` ends it, also when its supervisor was killed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from faults.founded import SHORT_LIVED
from passerelle.city import process
from passerelle.city.broker import Broker
from passerelle.city.supervised import Supervised
from passerelle.config import Home

PROJECT = Path(__file__).parents[2]
PASSERELLE = (sys.executable, "-m", "passerelle.cli")

pytestmark = [pytest.mark.broker, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    home = Home(root=tmp_path_factory.mktemp("home"))
    yield home
    run(home, "down")


def run(home, *arguments):
    environ = {**os.environ, **SHORT_LIVED, "PASSERELLE_HOME": str(home.root)}
    command = [*PASSERELLE, *arguments]
    return subprocess.run(command, cwd=PROJECT, env=environ, capture_output=True, text=True, check=False, timeout=300)


def test_a_city_comes_up_and_goes_down_as_a_whole(place):
    assert run(place, "status").returncode == 1
    up = run(place, "up", "--detach", "--heap", "512")
    assert up.returncode == 0, up.stderr
    status = run(place, "status", "--json")
    document = json.loads(status.stdout)
    assert (status.returncode, document["ready"]) == (0, True)
    assert set(document["components"]) == {"supervisor", "consent", "ledger", "ledger-index", "gate-1", "agents", "web"}
    assert run(place, "consent", "attention").returncode == 0  # it is found wherever it listens
    again = run(place, "up")
    assert again.returncode == 0
    assert str(document["components"]["gate-1"]["pid"]) in again.stdout

    was = Supervised.find(place)
    broker = Broker.find(place)
    assert run(place, "down").stdout == "the city is down\n"
    assert [name for name, one in was.components.items() if one.alive] == []
    assert not was.supervisor.alive
    assert not broker.alive
    assert run(place, "down").stdout == "nothing is up here\n"


def test_what_a_killed_supervisor_left_is_found_and_ended(place):
    assert run(place, "up", "--detach", "--heap", "512").returncode == 0
    was, broker = Supervised.find(place), Broker.find(place)
    assert process.send(was.supervisor.pid, was.supervisor.born, signal.SIGKILL)
    assert process.gone(was.supervisor.pid, was.supervisor.born, 10)
    assert run(place, "status").returncode == 1
    assert run(place, "down").returncode == 0
    assert [name for name, one in was.components.items() if one.alive] == []
    assert not broker.alive


def test_what_cannot_come_up_is_told_with_its_reason_and_leaves_nothing(place, tmp_path):
    (tmp_path / "city").mkdir()
    environ = {"PASSERELLE_HOME": str(tmp_path / "home")}
    ran = subprocess.run(
        [*PASSERELLE, "up", "--detach"],
        cwd=tmp_path / "city",
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 2
    assert "there is no city here" in ran.stderr
    assert Broker.find(Home(root=tmp_path / "home")) is None
