"""Contracts are code: each rule has a contract that breaks it, and the line where."""

import json
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from passerelle_schemas.catalogue import Catalogue
from passerelle_schemas.check import check
from passerelle_schemas.contract_files import ContractFiles
from passerelle_schemas.documents import DocumentFault
from passerelle_schemas.shape import digest, shape

SAID = {"fr": "Ce que c'est.", "en": "What it is."}
MODE, OWNER, DESCRIPTION = "passerelle.compatibility", "passerelle.owner", "passerelle.description"


def field(name, type_, **said):
    return {"name": name, "type": type_, "passerelle.class": "location", DESCRIPTION: SAID, **said}


STREET, FLOOR = field("street", "string"), field("floor", ["null", "int"], default=None)
BAND = {"type": "enum", "name": "Band", "symbols": ["A", "B"], "default": "A"}


def contract(*fields, example=None, **changed):
    return {
        "type": "record",
        "name": "Moved",
        "namespace": "test.registry",
        OWNER: "registry",
        DESCRIPTION: SAID,
        "passerelle.retention": "P26D",
        "passerelle.example": example or {"street": "rue des Lilas", "floor": None},
        "fields": list(fields) or [STREET, FLOOR],
        **changed,
    }


def write(folder, contract, type_="registry.moved.v1"):
    department, _, rest = type_.partition(".")
    path = folder / department / f"{rest}.avsc"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(contract, indent=1))
    return path


def line_of(path, text):
    return 1 + next(i for i, line in enumerate(path.read_text().splitlines()) if text in line)


def found(folder):
    return [f for f in check(ContractFiles.read(folder)) if f.rule != "published"]


def test_a_contract_that_says_everything_is_clean_and_promises_backward(tmp_path):
    write(tmp_path, contract())
    assert found(tmp_path) == []
    files = ContractFiles.read(tmp_path)
    assert files.contracts[0][1].compatibility == "BACKWARD"


def one(name, type_, value, **said):
    return contract(STREET, field(name, type_, **said), example={"street": "x", name: value})


@pytest.mark.parametrize(
    ("rule", "broken", "at", "said"),
    [
        ("words", contract(**{DESCRIPTION: {"fr": "x", "en": "x"}}), DESCRIPTION, "the same in both"),
        ("words", one("floor", "int", 1, **{DESCRIPTION: {"fr": "x", "en": ""}}), '"floor",', "en: "),
        ("contract", contract(**{DESCRIPTION: {"fr": " ", "en": "x"}}), DESCRIPTION, "fr: says nothing"),
        ("contract", contract(**{"passerelle.retention": "a year"}), '"passerelle.retention"', "as P30D, P12W, P6M"),
        ("contract", contract(**{"passerelle.retention": "P0D"}), '"passerelle.retention"', "no length of time"),
        ("attributes", contract(**{"passerelle.retnetion": "P1D"}), "retnetion", "is no attribute of a contract"),
        ("attributes", one("floor", "int", 1, **{"passerelle.form": []}), "passerelle.form", "attribute of a field"),
        ("names", contract(name="Left"), '"name": "Left"', "moved would be Moved"),
        ("names", contract(namespace=""), '"namespace"', "has a namespace"),
        ("names", one("floorNumber", "int", 1), '"name": "floorNumber"', "a field is named like_this"),
        ("names", one("floor", {**BAND, "name": "band"}, "A"), '"band"', "LikeThis"),
        ("names", one("floor", {**BAND, "symbols": ["A", "b"]}, "A"), '"b"', "LIKE_THIS"),
        ("reserved", one("class", "int", 1), '"name": "class"', "is a reserved word in Python or Java"),
        ("reserved", one("native", "int", 1), '"name": "native"', "is a reserved word in Python or Java"),
        ("person", one("family_name", "string", "x"), '"name": "family_name"', "the record's key names the person"),
        ("types", one("floor", {"type": "long", "logicalType": "timestamp-milis"}, 1), "milis", "every reader knows"),
        ("types", one("floor", {"type": "string", "logicalType": "date"}, "x"), '"date"', "stands on int"),
        ("enum-default", one("floor", {k: BAND[k] for k in ("type", "name", "symbols")}, "A"), '"type": {', "default"),
        ("nullable", one("floor", ["int", "null"], 1, default=1), '"type": [', "null is the first type"),
        ("nullable", one("floor", ["null", "int"], 1), '"name": "floor"', "null is the default"),
        ("contract", one("floor", "int", 1, default="ground"), '"type": "record"', "must match schema type: int"),
        ("example", contract(example={"street": "x"}), "passerelle.example", "has no floor"),
    ],
)
def test_every_rule_finds_what_breaks_it_and_its_line(tmp_path, rule, broken, at, said):
    path = write(tmp_path, broken)
    findings = found(tmp_path)
    assert {f.rule for f in findings} == {rule}, findings
    line = line_of(path, at)
    # A list or a mapping begins on its key's line; a field's own place is the brace before its name.
    assert any(
        f.text.startswith(f"{path}:{n}: ") and said in f.text for f in findings for n in range(line - 1, line + 5)
    )


@pytest.mark.parametrize(
    "bad", [{"passerelle.class": "heath"}, {"passerelle.class": None}, {"passerelle.from": ["x#y"]}]
)
def test_a_class_that_nobody_knows_cannot_even_be_loaded(tmp_path, bad):
    """It would pass for an ordinary one, and no basis for a special category would be asked for."""
    write(tmp_path, contract(STREET, {**FLOOR, **bad}))
    assert [f.rule for f in found(tmp_path)] == ["contract"]
    with pytest.raises(DocumentFault):
        Catalogue.load(tmp_path)


def test_a_new_contract_is_not_loaded_until_it_is_published(tmp_path):
    write(tmp_path, contract())
    with pytest.raises(DocumentFault, match="contracts check --lock"):
        Catalogue.load(tmp_path)
    assert ContractFiles.read(tmp_path).publish() == ["registry.moved.v1"]
    assert Catalogue.load(tmp_path).by_type("registry.moved.v1").schema_id == 1
    assert ContractFiles.read(tmp_path).publish() == []


def test_the_next_ids_follow_the_highest_and_nothing_that_was_locked_changes(tmp_path):
    write(tmp_path, contract())
    ContractFiles.read(tmp_path).publish()
    before = (tmp_path / "ids.lock.yaml").read_text()
    write(tmp_path, contract(), "registry.moved.v2")
    write(tmp_path, contract(name="Arrived"), "registry.arrived.v1")
    ContractFiles.read(tmp_path).publish()
    assert (tmp_path / "ids.lock.yaml").read_text().startswith(before)
    assert {c.type: c.schema_id for c in Catalogue.load(tmp_path)} == {
        "registry.moved.v1": 1,
        "registry.arrived.v1": 2,
        "registry.moved.v2": 3,
    }


@pytest.mark.parametrize(
    "edited",
    [
        contract(STREET),
        contract(STREET, FLOOR, field("door", ["null", "string"], default=None)),
        contract(STREET, field("floor", ["null", "long"], default=None)),
        contract(STREET, field("floor", ["null", {"type": "int", "logicalType": "date"}], default=None)),
    ],
)
def test_a_published_shape_is_never_edited(tmp_path, edited):
    """Records out there carry the id: they would be read as what they are not."""
    path = write(tmp_path, contract())
    ContractFiles.read(tmp_path).publish()
    example = {f["name"]: {"street": "x"}.get(f["name"]) for f in edited["fields"]}
    write(tmp_path, {**edited, "passerelle.example": example})
    with pytest.raises(DocumentFault) as caught:
        Catalogue.load(tmp_path)
    [problem] = caught.value.problems
    assert problem.startswith(
        f"{path}:1: registry.moved.v1 was published, and edited since: a change is a new moved.v2"
    )
    assert ContractFiles.read(tmp_path).publish() == [], "locking again does not make it right"


def test_words_classes_and_retention_of_a_published_contract_may_be_mended(tmp_path):
    write(tmp_path, contract())
    ContractFiles.read(tmp_path).publish()
    write(tmp_path, contract({**STREET, "passerelle.class": "personal"}, FLOOR, **{"passerelle.retention": "P1D"}))
    assert Catalogue.load(tmp_path).by_type("registry.moved.v1").retention == "P1D"


def test_a_new_version_is_held_to_the_promise_of_the_one_before(tmp_path):
    write(tmp_path, contract(**{MODE: "FULL"}))
    second = contract(
        {**STREET, "type": {"type": "string", "logicalType": "uuid"}}, FLOOR, field("door", "int"),
        example={"street": "5f2b6c1c-0a41-4b54-9d4c-7d6a5f6f8a10", "floor": 1, "door": 2}, **{MODE: "NONE"},
    )  # fmt: skip
    path = write(tmp_path, second, "registry.moved.v2")
    findings = found(tmp_path)
    assert {f.rule for f in findings} == {"compatibility"}
    texts = [f.text for f in findings]
    door, street = line_of(path, '"name": "door"'), line_of(path, '"name": "street"')
    assert f"{path}:{line_of(path, MODE)}: {MODE}: promises NONE, and v1 promised FULL" in texts
    assert any(f"{path}:{door}: " in t and "v2 cannot read v1: door" in t for t in texts)
    assert any(f"{path}:{street}: " in t and "uuid" in t for t in texts)


def test_two_events_do_not_share_an_avro_name(tmp_path):
    write(tmp_path, contract())
    write(tmp_path, {**contract(), OWNER: "tax"}, "tax.moved.v1")
    assert [f.rule for f in found(tmp_path)] == ["names"]


def test_a_derived_event_says_of_every_field_where_it_comes_from(tmp_path):
    write(tmp_path, contract())
    source = {"passerelle.from": ["registry.moved.v1#street"]}
    gone = {"passerelle.from": ["registry.moved.v1#stairs"]}
    derived = contract({**STREET, **source}, {**FLOOR, **gone}, field("lift", "boolean"), name="Told")
    path = write(
        tmp_path, {**derived, "passerelle.example": {"street": "x", "floor": 1, "lift": True}}, "registry.told.v1"
    )
    texts = [f.text for f in found(tmp_path)]
    assert any("there is no registry.moved.v1#stairs" in t for t in texts)
    assert any(t.startswith(f"{path}:") and "lift does not say where it comes from" in t for t in texts)


PLAIN = st.sampled_from(["int", "long", "string", "bytes", {"type": "int", "logicalType": "date"}, BAND])


@given(PLAIN, st.booleans(), st.text(min_size=1, max_size=5))
def test_the_digest_hangs_on_what_a_reader_relies_on_alone(type_, nested, words):
    plain = contract(field("street", type_))
    same = contract({**field("street", {"type": type_} if nested else type_), "doc": words}, **{DESCRIPTION: words})
    assert digest(plain) == digest(same)
    assert digest(plain) != digest(contract(field("street", ["null", type_], default=None)))
    assert shape(shape(plain)) == shape(plain)


def test_a_name_is_the_same_in_full_and_within_its_namespace():
    short = contract(field("a", BAND), field("b", "Band"))
    full = contract(field("a", {**BAND, "name": "test.registry.Band"}), field("b", "test.registry.Band"))
    assert digest(short) == digest(full)
    assert digest(short) != digest({**short, "namespace": "test.other"})


def test_an_example_is_read_like_any_other_value(tmp_path):
    write(tmp_path, one("on", {"type": "int", "logicalType": "date"}, "2026-11-23"))
    ContractFiles.read(tmp_path).publish()
    loaded = Catalogue.load(tmp_path).by_type("registry.moved.v1")
    assert loaded.decode(loaded.encode(loaded.example))["on"] == date(2026, 11, 23)


JUNK = st.sampled_from(
    [None, 0, -1, True, "", "x", "null", [], [None], ["null"], {}, {"type": "x"}, {"type": None}, 1e400]
)


def places(value, at=()):
    """Where something can be put that does not belong there."""
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, said in inner:
        yield from places(said, (*at, key))


def put(value, at, junk):
    if not at:
        return junk
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[at[0]] = put(copy[at[0]], at[1:], junk)
    return copy


WHOLE = contract(
    STREET, FLOOR, field("band", BAND), field("marks", {"type": "array", "items": "Band"}),
    example={"street": "x", "floor": 1, "band": "A", "marks": ["B"]},
)  # fmt: skip


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from([at for at in places(WHOLE) if at]), JUNK)
def test_whatever_stands_in_a_contract_is_told_and_never_a_traceback(tmp_path, at, junk):
    write(tmp_path, contract())
    ContractFiles.read(tmp_path).publish()
    write(tmp_path, put(WHOLE, at, junk), "registry.moved.v2")
    write(tmp_path, put(WHOLE, at, junk))
    for finding in check(ContractFiles.read(tmp_path)):
        assert finding.text.startswith(str(tmp_path))
