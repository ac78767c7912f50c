"""The doctor names what is missing with what mends it, and is quiet about what is well."""

import os
import time
from pathlib import Path

import pytest

from passerelle.city import doctor
from passerelle.config import Home

MANIFEST = Path(__file__).parents[3] / "deploy/city.yaml"


def found(home, manifest=MANIFEST):
    return {one.what: one for one in doctor.examine(Home(root=home), manifest)}


def test_this_machine_can_run_a_city(tmp_path):
    points = found(tmp_path)
    assert [one for one in points.values() if one.well is False] == []
    assert points["City"].how.startswith("lutece")


def test_whatever_is_not_well_says_how_to_mend_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(doctor, "FREE_BYTES_MIN", 1 << 60)
    monkeypatch.setattr(doctor, "PYTHON_MIN", (99, 0))
    monkeypatch.setattr(doctor, "FILES_MIN", 1 << 60)
    monkeypatch.setattr(doctor, "BUS", ("faust-streaming", "no-such-library"))
    points = found(tmp_path, tmp_path / "city.yaml")
    wrong = {name for name, one in points.items() if one.well is False}
    assert wrong == {"Python", "Packages", "Java", "Kafka", "Disk", "Files", "City"}
    assert all(points[name].hint for name in wrong)


def test_without_jars_maven_is_needed_and_only_then(tmp_path, monkeypatch):
    kafka = tmp_path / "kafka"
    kafka.mkdir()
    (kafka / "pom.xml").write_text("<project/>")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor._jars(kafka).hint == "apt-get install maven"
    monkeypatch.setattr(doctor.java, "fetched", lambda _folder: True)
    assert doctor._jars(kafka).well


def test_a_clock_that_was_set_back_is_seen_by_what_was_stored(tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    assert doctor._clock(Home(root=tmp_path)).well is not False
    later = time.time() + 3_600
    os.utime(store, (later, later))
    back = doctor._clock(Home(root=tmp_path))
    assert (back.well, "set back" in back.how) == (False, True)


@pytest.mark.parametrize(("said", "well"), [("yes", True), ("no", None), ("", True)])
def test_a_clock_that_nobody_keeps_is_worth_a_look(tmp_path, monkeypatch, said, well):
    tool = tmp_path / "timedatectl"
    tool.write_text(f"#!/bin/sh\necho {said}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert doctor._clock(Home(root=tmp_path / "home")).well is well
