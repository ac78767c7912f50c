"""How often a component is started again: not when it is broken, and always when it is unlucky now and then."""

import os
import signal

import pytest

from passerelle.city import components
from passerelle.city.components import RESTARTS_MAX, RESTARTS_WITHIN_S, Component, Running, Supervisor
from passerelle.city.supervised import Started


@pytest.fixture
def clock(monkeypatch):
    now = [1_000_000.0]
    monkeypatch.setattr(components.time, "monotonic", lambda: now[0])
    return now


def ended(tmp_path, *restarts):
    started = Started(pid=1, born="", restarts=len(restarts))
    component = Component(name="agents", arguments=())
    return Running(component=component, log=tmp_path, process=None, log_start=0, started=started, restarts=restarts)


@pytest.mark.parametrize("code", [os.EX_TEMPFAIL, -signal.SIGKILL])
def test_what_gave_up_or_was_killed_is_started_again(tmp_path, clock, code):
    assert Supervisor._again(ended(tmp_path), code)


@pytest.mark.parametrize("code", [0, 1, 2])
def test_what_ended_by_itself_is_not(tmp_path, clock, code):
    assert not Supervisor._again(ended(tmp_path), code)


def test_what_gives_up_again_and_again_is_left(tmp_path, clock):
    restarts = [clock[0] - n for n in range(RESTARTS_MAX)]
    assert Supervisor._again(ended(tmp_path, *restarts[1:]), os.EX_TEMPFAIL)
    assert not Supervisor._again(ended(tmp_path, *restarts), os.EX_TEMPFAIL)


def test_what_happened_long_ago_does_not_count(tmp_path, clock):
    restarts = [clock[0] - n for n in range(RESTARTS_MAX)]
    clock[0] += RESTARTS_WITHIN_S
    assert Supervisor._again(ended(tmp_path, *restarts), os.EX_TEMPFAIL)
