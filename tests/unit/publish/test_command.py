"""`passerelle publish csv`: what is refused before anything is made or sent."""

import pytest
from typer.testing import CliRunner

from lutece.reports import MAPPING
from passerelle.cli import publish
from passerelle_schemas.faults import Fault


@pytest.mark.parametrize(
    ("department", "said", "hint"),
    [
        ("nowhere", "no department nowhere", "citizen-desk, "),
        ("tax", "citizen-desk.report-filed.v1 is published by citizen-desk, not by tax", ""),
    ],
)
def test_a_department_that_is_none_or_another_is_named_and_nothing_is_made(
    tmp_path, monkeypatch, department, said, hint
):
    home, rows, pool = tmp_path / "home", tmp_path / "reports.csv", tmp_path / "pool.csv"
    monkeypatch.setenv("PASSERELLE_HOME", str(home))
    rows.write_text("id_dmr\n1\n")
    pool.write_text("00" * 16)
    arguments = ["csv", str(rows), "-m", str(MAPPING), "-d", department, "--subjects", str(pool)]
    fault = CliRunner().invoke(publish.app, arguments).exception
    assert isinstance(fault, Fault)
    assert said in str(fault)
    assert hint in (fault.hint or "")
    assert not list(home.rglob("*.secret"))
