"""`passerelle policy replay`: what is wrong with what it was given, each in its words."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from passerelle.cli import app
from passerelle.config import settings
from passerelle.replay_report import tell
from passerelle_consent.ledger.database.store import Store
from passerelle_consent.policy.decide import Decision, Reason, Verdict
from passerelle_consent.policy.replay import Cases, Lost, Report, Transition
from passerelle_consent.records import migrations
from passerelle_schemas.faults import Fault

PROJECT = Path(__file__).parents[3]
AGREEMENTS = PROJECT / "consent/agreements"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PASSERELLE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PASSERELLE_MANIFEST", str(PROJECT / "deploy/city.yaml"))
    monkeypatch.delenv("PASSERELLE_CONSENT_STORE", raising=False)
    monkeypatch.delenv("PASSERELLE_LEDGER_STORE", raising=False)
    return settings()


def replay(*arguments, agreements=AGREEMENTS, since="2026-01-01"):
    return CliRunner().invoke(app, ["policy", "replay", "--with", str(agreements), "--since", since, *arguments])


def test_a_time_that_is_none(home):
    assert replay(since="yesterday").exit_code == 2


def test_a_folder_that_is_none(home, tmp_path):
    fault = replay(agreements=tmp_path / "none").exception
    assert isinstance(fault, Fault)
    assert fault.what == "no such folder"


def test_agreements_that_do_not_carry_the_flows(home, tmp_path):
    folder = shutil.copytree(AGREEMENTS, tmp_path / "agreements")
    (folder / "civil-registry/move-schools.v1.yaml").unlink()
    fault = replay(agreements=folder).exception
    assert "move.schools.yaml" in str(fault)
    assert "no agreement move-schools@1" in str(fault)


def test_a_city_that_never_ran(home):
    fault = replay().exception
    assert isinstance(fault, Fault)
    assert "cannot be read" in str(fault)
    assert not list(home.home.root.rglob("*.sqlite*"))


def test_a_city_that_decided_nothing(home):
    import sqlalchemy as sa

    home.home.store.mkdir(parents=True)
    Store(home.ledger_store_url()).close()
    with sa.create_engine(home.consent_store_url()).begin() as conn:
        migrations.migrate(conn)
    done = replay("--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["decisions"], report["changed"], report["flows_gone"]) == (0, [], [])


def test_the_report_in_words(capsys):
    permit = Decision(verdict=Verdict.PERMIT, reason=Reason.VALID_BASIS)
    deny = Decision(verdict=Verdict.DENY, reason=Reason.AGREEMENT_NOT_IN_FORCE)
    report = Report(
        unchanged=5,
        changed={Transition("move.schools", permit, deny): Cases(count=2, examples=[b"\1" * 16])},
        not_reproduced={Transition("move.tax", permit, deny): Cases(count=1)},
        lost={Lost.ERASED: 3},
        flows_gone=("old.flow",),
        flows_new=("new.flow",),
    )
    tell(report, bytes(32))
    said = capsys.readouterr().out
    assert "11 decisions: 2 would be different, 5 the same" in said
    assert "Self-check: 7 of 8 reproduced" in said
    assert "erased: 3" in said
    assert "old.flow" in said
    assert "new.flow" in said
