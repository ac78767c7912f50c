"""Contracts are read strictly: every problem has its file and line."""

import json

import pytest
import yaml

from passerelle_schemas.catalogue import Catalogue, UnknownContract
from passerelle_schemas.codec import Undecodable
from passerelle_schemas.documents import DocumentFault
from passerelle_schemas.shape import digest

CONTRACT = {
    "type": "record",
    "name": "Moved",
    "namespace": "test.registry",
    "passerelle.owner": "registry",
    "passerelle.description": {"fr": "Un départ", "en": "A move"},
    "passerelle.compatibility": "FULL",
    "passerelle.retention": "P30D",
    "passerelle.example": {"street": "rue des Lilas", "floor": None},
    "fields": [
        {"name": "street", "type": "string", "passerelle.class": "location"},
        {"name": "floor", "type": ["null", "int"], "default": None, "passerelle.class": "location"},
    ],
}


@pytest.fixture
def contracts(tmp_path):
    write(tmp_path, CONTRACT)
    lock(tmp_path, {"registry.moved.v1": 42})
    return tmp_path


def lock(folder, ids):
    entries = {type_: {"id": schema_id, "sha256": digest(CONTRACT)} for type_, schema_id in ids.items()}
    (folder / "ids.lock.yaml").write_text(yaml.safe_dump(entries, sort_keys=False, default_flow_style=None))


def write(folder, contract):
    (folder / "registry").mkdir(exist_ok=True)
    (folder / "registry" / "moved.v1.avsc").write_text(json.dumps(contract, indent=2))


def test_a_contract_round_trips_its_example(contracts):
    contract = Catalogue.load(contracts).by_type("registry.moved.v1")
    value = contract.encode(CONTRACT["passerelle.example"])
    assert value[:5] == b"\0\0\0\0\x2a"
    assert contract.decode(value) == CONTRACT["passerelle.example"]
    assert contract.sources["street"] == ("registry.moved.v1#street",)
    assert not contract.derived


def test_by_id_and_by_type_say_what_is_unknown(contracts):
    catalogue = Catalogue.load(contracts)
    with pytest.raises(UnknownContract, match="schema id 7"):
        catalogue.by_id(7)
    with pytest.raises(UnknownContract, match=r"registry\.left\.v1"):
        catalogue.by_type("registry.left.v1")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"street": "x", "colour": "SECRET"}, "has no field colour"),
        ({"floor": 1}, "field street is missing"),
        ({"street": 12345}, "field street does not fit"),
    ],
)
def test_a_value_that_does_not_fit_names_the_field_and_never_the_value(contracts, value, said):
    with pytest.raises(Undecodable, match=said) as caught:
        Catalogue.load(contracts).by_type("registry.moved.v1").encode(value)
    assert "SECRET" not in str(caught.value)
    assert "12345" not in str(caught.value)


@pytest.mark.parametrize("garbage", [None, b"", b"\0\0", b"\1\0\0\0\x2a\0", b"\0\0\0\0\x2a", b"\0\0\0\0\x2a\2a\0\0"])
def test_garbage_is_undecodable(contracts, garbage):
    with pytest.raises(Undecodable):
        Catalogue.load(contracts).decode(garbage)


@pytest.mark.parametrize(
    ("change", "line", "said"),
    [
        ({"passerelle.owner": "tax"}, 5, "is not its folder's"),
        ({"passerelle.description": {"fr": "Un départ"}}, 6, "Field required"),
        ({"passerelle.retention": "a while"}, 11, "no length of time"),
        ({"passerelle.example": {"street": 3}}, 12, "does not fit"),
        ({"fields": [{"name": "street", "type": "string"}]}, 17, "Field required"),
    ],
)
def test_a_broken_contract_has_its_file_and_line(contracts, change, line, said):
    write(contracts, {**CONTRACT, **change})
    with pytest.raises(DocumentFault) as caught:
        Catalogue.load(contracts)
    (problem,) = caught.value.problems
    assert f"moved.v1.avsc:{line}: " in problem
    assert said in problem


def test_text_that_is_no_document_has_its_line(contracts):
    (contracts / "registry" / "moved.v1.avsc").write_text('{\n"type": "record",\n"name": ]')
    with pytest.raises(DocumentFault, match=r"moved\.v1\.avsc:3: "):
        Catalogue.load(contracts)


def test_ids_are_locked_unique_and_never_removed(contracts):
    lock(contracts, {"registry.moved.v1": 42, "registry.gone.v1": 42})
    with pytest.raises(DocumentFault) as caught:
        Catalogue.load(contracts)
    assert any("ids.lock.yaml:2" in p and "never removed" in p for p in caught.value.problems)
    assert any("belongs to registry.moved.v1" in p for p in caught.value.problems)
