"""Classes made of contracts: what goes in comes out, the types hold, and the text hangs on the contracts alone."""

import dataclasses
import importlib
import sys
from decimal import Decimal
from pathlib import Path
from subprocess import run
from uuid import UUID

import pytest
from typer.testing import CliRunner

from passerelle.cli import app
from passerelle_schemas.avro_python import NotWritable
from passerelle_schemas.catalogue import Catalogue
from passerelle_schemas.codegen import class_name, modules

PROJECT = Path(__file__).parents[3]
CATALOGUE = Catalogue.load(PROJECT / "schemas/contracts")
SAID = {"fr": 'Un "champ" \\.', "en": 'A "field" \\.'}
STATE = {"type": "enum", "name": "State", "symbols": ["OPEN", "SHUT"], "default": "OPEN"}
PLACE = {"type": "record", "name": "Place", "fields": [{"name": "state", "type": "State"}]}
EXAMPLE = {
    "field": "x",
    "datetime": "2026-11-23",
    "at": 0,
    "on": None,
    "amount": Decimal("12.34"),
    "ident": "5f2b6c1c-0a41-4b54-9d4c-7d6a5f6f8a10",
    "state": "SHUT",
    "place": {"state": "OPEN"},
    "places": [{"state": "SHUT"}],
    "by_name": {"a": {"state": "OPEN"}},
    "perhaps": None,
    "raw": b"ab",
    "number": 1.5,
    "several": "x",
}
TYPES = {
    "field": "string",
    "datetime": {"type": "int", "logicalType": "date"},
    "at": {"type": "long", "logicalType": "timestamp-millis"},
    "on": ["null", {"type": "int", "logicalType": "date"}],
    "amount": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
    "ident": {"type": "string", "logicalType": "uuid"},
    "state": STATE,
    "place": PLACE,
    "places": {"type": "array", "items": "Place"},
    "by_name": {"type": "map", "values": "Place"},
    "perhaps": ["null", "Place"],
    "raw": {"type": "fixed", "name": "Raw", "size": 2},
    "number": "double",
    "several": ["null", "string", "long"],
}


def everything(types=TYPES, example=EXAMPLE):
    def field(name, type_):
        made = {"name": name, "type": type_, "passerelle.class": "location", "passerelle.description": SAID}
        return made | ({"default": None} if isinstance(type_, list) else {})

    said = {"passerelle.owner": "class", "passerelle.description": SAID, "passerelle.retention": "P1D"}
    fields = [field(name, type_) for name, type_ in types.items()]
    schema = {
        "type": "record",
        "name": "All",
        "namespace": "t",
        **said,
        "passerelle.example": example,
        "fields": fields,
    }
    return Catalogue.from_schemas({"class.all.v1": (7, schema)})


def write(folder, files):
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """Import what is made of a catalogue, under a name of its own."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def imported(catalogue, name):
        write(tmp_path / name, modules(catalogue))
        return importlib.import_module(name).EVENTS

    yield imported
    for name in [name for name in sys.modules if name.startswith("made_")]:
        del sys.modules[name]


def test_every_example_makes_the_round_trip(imported):
    events = imported(CATALOGUE, "made_city")
    assert set(events) == {contract.type for contract in CATALOGUE}
    for contract in CATALOGUE:
        made = events[contract.type]
        value = made.from_avro(contract.decode(contract.encode(contract.example)))
        assert made.from_avro(contract.decode(contract.encode(value.to_avro()))) == value
        assert contract.encode(value.to_avro()) == contract.encode(contract.example)
        assert (contract.type, contract.schema_id) == (made.TYPE, made.SCHEMA_ID)


def test_every_kind_of_type_makes_the_round_trip(imported):
    catalogue = everything()
    contract = catalogue.by_type("class.all.v1")
    made = imported(catalogue, "made_kinds")["class.all.v1"]
    value = made.from_avro(contract.decode(contract.encode(EXAMPLE)))
    assert contract.encode(value.to_avro()) == contract.encode(EXAMPLE)
    assert (value.ident, value.amount, value.perhaps) == (UUID(EXAMPLE["ident"]), Decimal("12.34"), None)
    assert (value.places[0].state, value.by_name["a"].state) == ("SHUT", "OPEN")
    filled = dataclasses.replace(value, perhaps=value.place)
    assert contract.decode(contract.encode(filled.to_avro()))["perhaps"] == {"state": "OPEN"}


def test_values_are_frozen_and_say_nothing_about_anybody(imported):
    contract = CATALOGUE.by_type("citizen-desk.report-filed.v1")
    made = imported(CATALOGUE, "made_frozen")[contract.type]
    value = made.from_avro(contract.decode(contract.encode(contract.example)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.district = 2
    assert contract.example["report_id"] in repr(value)
    for field, class_ in contract.classes.items():
        assert (f"{field}=" in repr(value)) is (class_ == "operational")


def test_the_text_hangs_on_the_contracts_alone():
    assert modules(list(CATALOGUE)) == modules(list(reversed(list(CATALOGUE))))


def test_a_second_version_renames_nothing():
    schema = dict(CATALOGUE.by_type("tax.income-assessed.v1").schema)
    both = Catalogue.from_schemas({"tax.income-assessed.v1": (5, schema), "tax.income-assessed.v2": (6, schema)})
    assert [class_name(contract) for contract in both] == ["IncomeAssessedV1", "IncomeAssessedV2"]


def test_a_union_that_nobody_could_tell_apart_is_refused():
    with pytest.raises(NotWritable, match=r"class\.all\.v1: a union of several branches"):
        modules(everything({"several": ["null", "string", STATE]}, {"several": None}))


@pytest.mark.slow
def test_the_types_hold(tmp_path):
    for name, catalogue in (("made_city", CATALOGUE), ("made_kinds", everything())):
        write(tmp_path / name, modules(catalogue))
    ran = run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "made_city", "made_kinds"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout


def test_the_command_writes_compares_and_leaves_what_is_not_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("PASSERELLE_MANIFEST", str(PROJECT / "deploy/city.yaml"))

    def codegen(*options):
        return CliRunner().invoke(app, ["contracts", "codegen", "--out", str(tmp_path / "events"), *options])

    assert codegen("--check").exit_code == 1
    assert codegen().exit_code == 0
    assert codegen("--check").exit_code == 0
    (tmp_path / "events/tax.py").write_text("mine = 1\n")
    assert codegen("--check").exit_code == 1
    assert "was not made by this command" in str(codegen().exception)
    assert (tmp_path / "events/tax.py").read_text() == "mine = 1\n"
