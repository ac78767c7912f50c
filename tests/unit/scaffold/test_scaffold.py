"""What is made passes its own tests at once, says nothing twice, and leaves what is there."""

import os
import subprocess
import sys

import pytest

from passerelle.scaffold import files, windows
from passerelle.scaffold.city import new_city
from passerelle_schemas.faults import Fault

PASSERELLE = (sys.executable, "-m", "passerelle.cli")


def run(folder, *arguments):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PASSERELLE_")}
    return subprocess.run(
        [*PASSERELLE, *arguments], cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=120
    )


def done(folder, *arguments):
    ran = run(folder, *arguments)
    assert ran.returncode == 0, ran.stderr + ran.stdout
    return ran.stdout


def everything(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".pyc"}


@pytest.fixture
def city(tmp_path):
    done(tmp_path, "init", "lyra", "--fr", "Lyra")
    return tmp_path / "lyra"


@pytest.mark.slow
def test_a_new_city_passes_its_tests_and_so_does_what_is_added(city):
    assert "no problems" in done(city, "city", "lint", "--lock")
    assert "as expected" in done(city, "agents", "test", "scenarios/request-filed-roads.yaml")
    done(city, "department", "new", "parks", "--fr", "Espaces verts", "--event", "tree-planted")
    done(city, "agents", "new", "parks.tree-planted.v1", "--to", "roads")
    assert "3 departments, 2 contracts, 2 flows, 2 agreements: no problems" in done(city, "city", "lint", "--lock")
    scenarios = sorted(str(path) for path in (city / "scenarios").glob("*.yaml"))
    assert done(city, "agents", "test", *scenarios).count("as expected") == 2
    assert done(city, "agents", "attack", "--seeds", "1").count("withstood") == 6


@pytest.mark.slow
def test_a_new_join_passes_its_tests_beside_a_route_of_the_same_event(city):
    done(city, "department", "new", "parks", "--event", "request-filed")
    both = ("citizen-desk.request-filed.v1", "parks.request-filed.v1")
    done(city, "agents", "new", *both, "--to", "roads", "--join", "request-and-tree")
    done(city, "agents", "new", "parks.request-filed.v1", "--to", "citizen-desk")
    assert "3 departments, 3 contracts, 3 flows, 4 agreements: no problems" in done(city, "city", "lint", "--lock")
    assert "no problems" in done(city, "contracts", "check")
    scenarios = sorted(str(path) for path in (city / "scenarios").glob("*.yaml"))
    assert done(city, "agents", "test", *scenarios).count("as expected") == 3
    assert done(city, "agents", "attack", "--seeds", "1").count("withstood") == 6


@pytest.mark.slow
def test_new_rules_with_windows_pass_their_tests(city):
    done(city, "department", "new", "parks", "--event", "tree-planted")
    both = ("citizen-desk.request-filed.v1", "parks.tree-planted.v1")
    done(city, "agents", "new", *both, "--to", "roads", "--join", "tree-works", "--window", "P7D")
    one = ("parks.tree-planted.v1", "--to", "citizen-desk")
    done(city, "agents", "new", *one, "--aggregate", "trees-of-day", "--window", "P1D")
    assert "no problems" in done(city, "city", "lint", "--lock")
    scenarios = sorted(str(path) for path in (city / "scenarios").glob("*.yaml"))
    assert done(city, "agents", "test", *scenarios).count("as expected") == 3
    assert done(city, "agents", "attack", "--seeds", "1").count("withstood") == 6
    code = (city / "lyra_agents.py").read_text()
    assert code.count("import timedelta") == code.count("View, folded") == 1


@pytest.mark.parametrize(
    ("text", "said", "begins"),
    [
        ("P7D", "timedelta(days=7)", "2026-01-08T00:00:00Z"),  # a Thursday, as 1 January 1970 was
        ("P1DT12H", "timedelta(hours=36)", "2026-01-05T12:00:00Z"),
        ("PT1H30M", "timedelta(minutes=90)", "2026-01-05T00:00:00Z"),
    ],
)
def test_a_window_is_written_as_code_and_begins_where_the_aggregate_begins_it(text, said, begins):
    window = windows.span(text)
    assert (windows.written(window), windows.instant(windows.begins(window))) == (said, begins)


@pytest.mark.parametrize("text", ["7", "P", "PT", "P7", "P1W", "P-1D", "PT0M", "P12D"])
def test_what_is_no_window_is_refused(text):
    with pytest.raises(Fault, match="window"):
        windows.span(text)


def test_imports_are_added_once_and_where_they_are_missing():
    code = '"""Agents."""\n\nfrom passerelle.agents import AgentApp, View\n'
    both = '"""Agents."""\n\nfrom datetime import timedelta\nfrom passerelle.agents import AgentApp, View, folded\n'
    assert windows.importing(code, folds=True) == windows.importing(both, folds=True) == both
    other = "import passerelle.agents\n"
    imports = "from passerelle.agents import folded\nfrom datetime import timedelta\n"
    assert windows.importing(other, folds=True) == imports + other


@pytest.mark.slow
def test_a_contract_of_which_nothing_was_written_can_be_locked_anew(city):
    path = city / "contracts/citizen-desk/request-filed.v1.avsc"
    path.write_text(path.read_text().replace('"name": "street"', '"name": "road"').replace('"street":', '"road":'))
    refused = run(city, "contracts", "check")
    assert refused.returncode == 1
    assert "passerelle contracts relock citizen-desk.request-filed.v1" in refused.stderr
    done(city, "contracts", "relock", "citizen-desk.request-filed.v1")
    assert "edited since" not in run(city, "contracts", "check").stderr
    (city / ".passerelle/kafka").mkdir(parents=True)
    cannot_tell = run(city, "contracts", "relock", "citizen-desk.request-filed.v1")
    assert (cannot_tell.returncode, "its broker is down" in cannot_tell.stderr) == (2, True)


def test_outside_a_city_a_command_says_how_to_get_into_one(tmp_path):
    ran = run(tmp_path, "department", "new", "parks")
    assert ran.returncode == 2
    assert "there is no city here" in ran.stderr
    assert "passerelle init" in ran.stderr


@pytest.mark.parametrize("failing", range(4))
def test_what_cannot_be_written_wholly_is_not_written_at_all(tmp_path, monkeypatch, failing):
    """New files go with their folders; changed ones have their words again. Ctrl-C as a full disk."""
    old = tmp_path / "old.yaml"
    old.write_text("as it was")
    new = {tmp_path / "a/b/one": "1", tmp_path / "a/two": "2", tmp_path / "three": "3"}
    whole, seen = files._replace, []

    def replace(path, content):
        seen.append(path)
        if len(seen) == failing + 1:
            raise KeyboardInterrupt if failing % 2 else OSError(28, "No space left on device", str(path))
        whole(path, content)

    monkeypatch.setattr(files, "_replace", replace)
    with pytest.raises((Fault, KeyboardInterrupt)):
        files.write(new, {old: "changed"})
    assert sorted(tmp_path.rglob("*")) == [old]
    assert old.read_text() == "as it was"


def test_a_city_that_cannot_be_made_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_arguments, **_named):
        raise KeyboardInterrupt

    monkeypatch.setattr("passerelle.scaffold.city.new_rule", fail)
    (tmp_path / "own/flows").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    for folder in ("far/lyra", "own"):
        with pytest.raises(KeyboardInterrupt):
            new_city(tmp_path / folder, "lyra", fr="Lyra", en="Lyra")
        assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("init", "lyra", "--into", "."), "is there already"),
        (("department", "new", "roads"), "roads is a department already"),
        (("department", "new", "gate"), "a principal of the bus itself"),
        (("agents", "new", "citizen-desk.request-filed.v1", "--to", "roads"), "is there already"),
        (("agents", "new", "citizen-desk.request-filed.v1", "--to", "tax"), "no department tax"),
        (("agents", "new", "citizen-desk.request-filed.v1", "--to", "citizen-desk"), "publishes"),
        (("agents", "new", "roads.no-such.v1", "--to", "citizen-desk"), "no contract"),
        (("agents", "new", "citizen-desk.request-filed.v1", "a.b.v1", "--to", "roads"), "are a join"),
        (("agents", "new", "citizen-desk.request-filed.v1", "--to", "roads", "--join", "x"), "2 to 5 different events"),
        (
            ("agents", "new", *(("citizen-desk.request-filed.v1",) * 2), "--to", "roads", "--join", "x"),
            "2 to 5 different events",
        ),
        (("agents", "new", "citizen-desk.request-filed.v1", "--to", "roads", "--window", "P1D"), "a name and a window"),
        (("contracts", "relock", "roads.no-such.v1"), "no contract roads.no-such.v1 is locked"),
        (("department", "new", "Parks"), "is not an id"),
        (("department", "new", "parks", "--fr", 'a "b"'), "without quotes"),
    ],
)
def test_what_cannot_be_made_changes_nothing(city, arguments, said):
    before = everything(city)
    ran = run(city, *arguments)
    assert ran.returncode in (1, 2)
    assert said in " ".join((ran.stderr + ran.stdout).replace("│", " ").split())
    assert "Traceback" not in ran.stderr
    assert everything(city) == before
