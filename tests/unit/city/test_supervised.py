"""What was started is found again and ended, also when its supervisor was killed; nobody else's process is."""

import subprocess
import sys

import pytest

from passerelle.city import process
from passerelle.city.supervised import Started, Supervised
from passerelle.config import Home, Settings
from passerelle_schemas.faults import Fault

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture
def home(tmp_path):
    found = Home(root=tmp_path)
    found.run.mkdir()
    return found


@pytest.fixture
def sleeper():
    child = subprocess.Popen(SLEEP)
    yield child
    child.kill()
    child.wait()


def started(child):
    return Started(pid=child.pid, born=process.birth(child.pid))


def test_a_record_is_read_as_it_was_written(home, sleeper):
    record = Supervised(
        supervisor=started(sleeper),
        ready=True,
        consent_url="http://127.0.0.1:9",
        components={"gate-1": started(sleeper)},
    )
    record.write(home)
    assert Supervised.find(home) == record
    assert Settings(home=home, manifest_path=home.root).consent_url() == "http://127.0.0.1:9"


def test_without_a_record_the_service_is_where_it_listens_by_itself(home):
    assert Supervised.find(home) is None
    assert Settings(home=home, manifest_path=home.root).consent_url() == "http://127.0.0.1:8470"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"supervisor": {"pid": 1}, "components": {}}'])
def test_a_record_that_is_none_is_a_fault(home, text):
    home.supervised_file.write_text(text)
    with pytest.raises(Fault, match="not a record"):
        Supervised.find(home)


def test_what_a_killed_supervisor_left_is_ended_and_no_other_process(home, sleeper):
    other = subprocess.Popen(SLEEP)
    try:
        gone = Started(pid=sleeper.pid, born="another birth")
        mine = subprocess.Popen(SLEEP)
        record = Supervised(
            supervisor=gone, components={"gate-1": started(mine), "agents": Started(pid=other.pid, born="-")}
        )
        record.write(home)
        record.end(home, term_seconds=10)
        assert mine.wait(10) != 0
        assert (sleeper.poll(), other.poll()) == (None, None)
        assert not home.supervised_file.exists()
    finally:
        other.kill()
        other.wait()
