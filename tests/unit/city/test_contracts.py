"""`passerelle contracts check`: what the city adds to the rules of its contracts."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from passerelle.cli import app

PROJECT = Path(__file__).parents[3]
CONTRACTS = "schemas/contracts"
INCOME = f"{CONTRACTS}/tax/income-assessed.v1.avsc"


@pytest.fixture
def city(tmp_path, monkeypatch):
    """The demonstration city's files, to be broken."""
    for folder in (CONTRACTS, "schemas/flows", "consent/agreements"):
        shutil.copytree(PROJECT / folder, tmp_path / folder)
    (tmp_path / "deploy").mkdir()
    shutil.copy(PROJECT / "deploy/city.yaml", tmp_path / "deploy")
    monkeypatch.setenv("PASSERELLE_MANIFEST", str(tmp_path / "deploy/city.yaml"))
    return tmp_path


def change(path, *edits):
    text = path.read_text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text)


def line_of(path, text):
    return 1 + next(i for i, line in enumerate(path.read_text().splitlines()) if text in line)


def check(*arguments):
    result = CliRunner().invoke(app, ["contracts", "check", "--json", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, json.loads(result.stdout)


def found(said, kind="problems"):
    return [(finding["rule"], finding["text"]) for finding in said[kind]]


def new_contract(city, **changed):
    path = city / CONTRACTS / "tax/tax-paid.v1.avsc"
    made = {**json.loads((city / INCOME).read_text()), "name": "TaxPaid", **changed}
    path.write_text(json.dumps(made, indent=1))
    return path


def test_the_demonstration_is_clean(city):
    assert check() == (0, {"contracts": 13, "problems": [], "warnings": [], "locked": []})


def test_a_contract_that_nobody_uses_is_a_warning(city):
    path = new_contract(city)
    code, said = check("--lock")
    assert (code, said["problems"], said["locked"]) == (0, [], ["tax.tax-paid.v1"])
    assert found(said, "warnings") == [
        ("orphan", f"{path}:1: tax.tax-paid.v1 is an orphan: no flow delivers it and no agent reads it")
    ]


def test_what_is_new_is_locked_only_when_nothing_is_wrong(city):
    before = (city / CONTRACTS / "ids.lock.yaml").read_text()
    path = new_contract(city, **{"passerelle.retention": "P60D"})
    code, said = check("--lock")
    assert (code, said["locked"]) == (1, [])
    assert [rule for rule, _ in found(said)] == ["published", "retention"]
    assert found(said)[1][1].startswith(f"{path}:{line_of(path, 'passerelle.retention')}: ")
    assert (city / CONTRACTS / "ids.lock.yaml").read_text() == before


def test_a_new_contract_needs_the_lock(city):
    new_contract(city)
    code, said = check()
    assert code == 1
    assert [rule for rule, _ in found(said)] == ["published"]


def test_an_owner_who_is_no_department_is_named(city):
    change(city / "deploy/city.yaml", ("{ id: nursery,", "{ id: nurseries,"))
    code, said = check()
    path = city / CONTRACTS / "nursery/birth-offer.v1.avsc"
    expected = f"{path}:5: passerelle.owner: nursery is not a department of city.yaml"
    assert code == 1
    assert found(said) == [("owner", expected)]


def test_a_withheld_field_that_cannot_be_null_is_named_by_its_flow(city):
    flow = city / "schemas/flows/birth.nursery.yaml"
    change(flow, ("  - multiple\noptional:\n", "optional:\n  - multiple\n"))
    code, said = check()
    assert code == 1
    said_of = "optional: field multiple may be withheld, so its type must be a union with null"
    assert found(said) == [("withheld", f"{flow}:{line_of(flow, 'optional:') + 1}: {said_of}")]


def test_a_folder_is_checked_by_itself(city):
    code, said = check(city / CONTRACTS)
    assert (code, said["problems"], said["warnings"]) == (0, [], [])


def test_people_read_lines_and_a_count(city):
    change(city / INCOME, ('"name": "IncomeAssessed"', '"name": "Income"'))
    result = CliRunner().invoke(app, ["contracts", "check"])
    assert result.exit_code == 1
    assert result.stdout == "13 contracts: 2 problems\n"
    first, second = sorted(result.stderr.splitlines())
    assert first.startswith(f"{city / INCOME}:1: tax.income-assessed.v1 was published, and edited since")
    assert second == f"{city / INCOME}:3: name: is Income, and income-assessed would be IncomeAssessed [names]"
