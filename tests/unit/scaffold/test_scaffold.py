"""What is made passes its own tests at once, says nothing twice, and leaves what is there."""

import os
import subprocess
import sys

import pytest

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
