"""`passerelle ledger export` and `verify-export`, as an auditor runs them: one line, an exit code, no traceback."""

import subprocess
import sys

import pytest

from passerelle_consent.ledger.integrator.publish import FolderPublisher
from unit.ledger.fakes import SIGNER
from unit.ledger.test_export import log  # noqa: F401 - its fixture


@pytest.fixture
def run(log, tmp_path):  # noqa: F811 - the fixture
    FolderPublisher(log.path, SIGNER.verifier).write_key()

    def run(command, *arguments, **environ):
        return subprocess.run(
            [sys.executable, "-m", "passerelle.cli", "ledger", command, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={"PASSERELLE_HOME": str(tmp_path / "home"), "PATH": "", "NO_COLOR": "1", "COLUMNS": "200", **environ},
        )

    run.log, run.vkey = log.path, log.path.with_name("ledger.vkey")
    return run


def test_what_is_exported_is_verified_where_there_is_no_log(run, tmp_path):
    for name, filters in {
        "all.jsonl": (),
        "denied.csv": ("--verdict", "deny"),
        "tax.parquet": ("--department", "tax"),
    }.items():
        done = run("export", run.log, "--out", tmp_path / name, *filters)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        told = run("verify-export", tmp_path / name, "--vkey", run.vkey)
        assert (told.returncode, told.stdout) == (0, done.stdout)
    assert "612 entries, all of them, from places 0 to 612" in run("export", run.log, "--out", "a.csv").stdout
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []


def test_the_index_is_made_and_goes_on(run, tmp_path):
    for _ in range(2):
        done = run("index", run.log, "--once")
        assert done.returncode == 0, done.stderr
        assert "size=612" in done.stdout + done.stderr or '"size": 612' in done.stdout + done.stderr
    assert (tmp_path / "home" / "store" / "ledger-index.sqlite").exists()


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("mysql://here", 2, "is a mysql database"),
        ("no url: secret", 2, "is not a database's URL"),
        ("sqlite:////none/index", 75, "cannot be used"),
    ],
)
def test_an_index_that_cannot_be_had(run, url, code, said):
    done = run("index", run.log, "--once", PASSERELLE_LEDGER_INDEX=url)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


def test_a_changed_row_is_invalid_and_the_file_is_named(run, tmp_path):
    run("export", run.log, "--out", "out.jsonl")
    file = tmp_path / "out.jsonl"
    file.write_bytes(file.read_bytes().replace(b"permit", b"redact", 1))
    done = run("verify-export", "out.jsonl", "--vkey", run.vkey)
    assert (done.returncode, done.stdout) == (1, "")
    assert "out.jsonl: the entries are not those that were signed" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--out", "out.xml"), "--format"),
        (("--out", "none/out.csv"), "cannot be written"),
        (("--out", "out.csv", "--since", "yesterday"), "--since"),
        (("--out", "out.csv", "--until", "2026-01-01T00:00:00"), "--until"),
        (("--out", "out.csv", "--verdict", "maybe"), "--verdict"),
        (("--out", "out.csv", "--type", "decisions"), "--type"),
        (("--out", "out.csv", "--vkey", "none"), "none: cannot be read"),
    ],
)
def test_what_cannot_be_exported(run, arguments, said, tmp_path):
    done = run("export", run.log, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*out*"))


def test_an_export_without_its_proof_cannot_be_told(run, tmp_path):
    run("export", run.log, "--out", "out.csv")
    (tmp_path / "out.csv.proof").unlink()
    done = run("verify-export", "out.csv", "--vkey", run.vkey)
    assert (done.returncode, "out.csv.proof: cannot be read" in done.stderr) == (2, True)
