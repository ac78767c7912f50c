"""`pip install passerelle[auditor]` is enough: each of the auditor's commands runs where nothing else is installed."""

import os
import re
import signal
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest

from passerelle_consent.ledger.query import disclose
from unit.ledger.fakes import MASTERS, SIGNER, LedgerTown

ROOT = Path(__file__).parents[3]
VKEY = SIGNER.verifier.encode()
ANN = b"A" * 16

BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {modules!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocked())
from passerelle.cli import main
sys.argv = ["passerelle", *{arguments!r}]
main()
"""


def others():
    """Modules of all that this machine has and an auditor does not install, by the project's own list of extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = {name_of(line) for line in (*project["dependencies"], *extras["auditor"])}
    everything = {name_of(line) for lines in extras.values() for line in lines}
    modules = {"faust-streaming": "faust", "pyyaml": "yaml"}
    return sorted(modules.get(name, name).replace("-", "_") for name in everything - wanted - needed_by(wanted))


def name_of(requirement):
    return re.match(r"[A-Za-z0-9_.-]+", requirement)[0].lower()


def needed_by(names):
    """What comes along with these."""
    found, waiting = set(), list(names)
    while waiting:
        for line in requires(waiting.pop()) or ():
            if "extra ==" not in line and name_of(line) not in found:
                try:
                    requires(name_of(line))
                except ModuleNotFoundError:  # for another system
                    continue
                found.add(name_of(line))
                waiting.append(name_of(line))
    return found


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    town = LedgerTown(tmp_path_factory.mktemp("town"))
    integrator = town.started()
    integrator._publisher.write_key()
    withdrawn = town.note("withdrawn")
    town.decide(count=300)
    town.note("fenced", regarding=withdrawn.id)
    while (step := integrator.step()).full or step.decisions or step.journal or step.waiting:
        pass
    with town.store.reading() as db:
        town.key = disclose.key_of(db, MASTERS, ANN).secret.hex()
    yield town
    town.store.close()


def program(arguments):
    return [sys.executable, "-c", BLOCKED.format(modules=others(), arguments=[str(a) for a in arguments])]


def commands(log, folder):
    """Each command that an auditor has but the witness, which stays; in an order that makes what the next one reads."""
    policy = folder / "policy"
    policy.write_text("quorum none\n")
    return [
        ["verify", log, "--vkey", VKEY],
        ["fsck", log, "--vkey", VKEY],
        ["prove", log, "--index", "7"],
        ["prove", log, "--since", "256"],
        ["cosign", log, "--policy", policy],
        ["monitor", log, "--once", "--late-after", "1000"],
    ]


def test_what_an_auditor_does_not_install():
    blocked = others()
    assert {"aiokafka", "alembic", "confluent_kafka", "fastapi", "faust", "sqlalchemy"} <= set(blocked)
    assert {"httpx", "starlette", "uvicorn", "cryptography"}.isdisjoint(blocked)


def test_every_command_runs_without_kafka_and_without_a_database(log, tmp_path):
    for arguments in commands(log.folder, tmp_path):
        done = subprocess.run(program(["ledger", *arguments]), capture_output=True, text=True, check=False)
        assert done.returncode == 0, (arguments[0], done.stderr)
        (tmp_path / f"{arguments[0]}.out").write_text(done.stdout)
    proof = tmp_path / "prove.out"
    for arguments in (["verify-proof", proof, "--vkey", VKEY], ["scan", log.folder, "--subject-key", log.key]):
        done = subprocess.run(program(["ledger", *arguments]), capture_output=True, text=True, check=False)
        assert done.returncode == 0, (arguments[0], done.stderr)


def test_the_witness_starts_and_stops_without_them(tmp_path):
    arguments = [
        "ledger",
        "witness",
        "--name",
        "w.example",
        "--state",
        tmp_path / "w",
        "--log",
        VKEY,
        "--port",
        "48480",
    ]
    started = subprocess.Popen(program(arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert started.stdout.readline().startswith("w.example+")
    finally:
        started.send_signal(signal.SIGTERM)
        _, problems = started.communicate(timeout=30)
    assert "ModuleNotFoundError" not in problems


def test_the_integrator_does_not_run_there(tmp_path):
    """The blocking above is real."""
    done = subprocess.run(
        program(["ledger", "integrate"]),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PASSERELLE_HOME": str(tmp_path)},
    )
    assert "ModuleNotFoundError" in done.stderr


def test_a_database_asked_for_where_there_is_none_is_a_line_and_a_hint(log, tmp_path):
    arguments = ["ledger", "verify", log.folder, "--store"]
    done = subprocess.run(program(arguments), capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "install passerelle[consent]" in done.stderr


@pytest.mark.slow
def test_a_fresh_environment_with_the_extra_alone(log, tmp_path):
    """The same, installed: by the lock's versions, from wherever pip finds them."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    pip = [tmp_path / "venv/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pins = (line.partition(" ")[0] for line in (ROOT / "deploy/requirements.lock").read_text().splitlines())
    (tmp_path / "pins").write_text("\n".join(line for line in pins if "==" in line))
    done = subprocess.run(
        [*pip, "-c", tmp_path / "pins", f"{ROOT}[auditor]"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"packages cannot be fetched: {done.stderr.strip().splitlines()[-1]}")
    installed = subprocess.run([*pip[:3], "list"], capture_output=True, text=True, check=True).stdout.lower()
    assert not [name for name in ("kafka", "sqlalchemy", "fastapi", "faust") if name in installed]
    passerelle = tmp_path / "venv/bin/passerelle"
    for arguments in commands(log.folder, tmp_path):
        said = subprocess.run([passerelle, "ledger", *arguments], capture_output=True, text=True, check=False)
        assert said.returncode == 0, (arguments[0], said.stderr)
