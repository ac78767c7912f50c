from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import fastavro
import pytest

from passerelle.publish.from_json import Misfit, converted, encoded, plain
from passerelle_schemas.catalogue import Catalogue

CONTRACTS = Path(__file__).parents[3] / "schemas/contracts"
CATALOGUE = Catalogue.load(CONTRACTS)


def contract(**fields):
    specs = [{"name": n, "passerelle.class": "operational", "type": t} for n, t in fields.items()]
    schema = {
        "type": "record",
        "name": "Test",
        "fields": specs,
        "passerelle.owner": "tax",
        "passerelle.description": {"fr": "x", "en": "x"},
        "passerelle.retention": "P1D",
        "passerelle.example": {},
    }
    return Catalogue.from_schemas({"tax.test.v1": (900, schema)}).by_type("tax.test.v1")


def logical(base, name, **more):
    return {"type": base, "logicalType": name, **more}


EVERY = {
    "day": (logical("int", "date"), "2026-02-28", date(2026, 2, 28)),
    "hour": (logical("int", "time-millis"), "09:30:00.250000", time(9, 30, 0, 250_000)),
    "at": (
        logical("long", "timestamp-millis"),
        "2026-02-28T09:30:00.250000Z",
        datetime(2026, 2, 28, 9, 30, 0, 250_000, UTC),
    ),
    "precise": (
        logical("long", "timestamp-micros"),
        "2026-02-28T09:30:00.000007Z",
        datetime(2026, 2, 28, 9, 30, 0, 7, UTC),
    ),
    "amount": (logical("bytes", "decimal", precision=9, scale=2), "1234.50", Decimal("1234.50")),
    "ident": (
        logical("string", "uuid"),
        "7b0c5a3e-0d0e-4c53-9d0c-0a9f0b1c2d3e",
        UUID("7b0c5a3e-0d0e-4c53-9d0c-0a9f0b1c2d3e"),
    ),
    "raw": ("bytes", "AAH/", b"\x00\x01\xff"),
    "maybe": (["null", logical("int", "date")], "2026-02-28", date(2026, 2, 28)),
    "none": (["null", logical("int", "date")], None, None),
    "days": ({"type": "array", "items": logical("int", "date")}, ["2026-02-28"], [date(2026, 2, 28)]),
    "by": ({"type": "map", "values": logical("int", "date")}, {"a": "2026-02-28"}, {"a": date(2026, 2, 28)}),
    "inner": (
        {"type": "record", "name": "Inner", "fields": [{"name": "d", "type": logical("int", "date")}]},
        {"d": "2026-02-28"},
        {"d": date(2026, 2, 28)},
    ),
    "text": ("string", "é", "é"),
    "count": ("long", 2**40, 2**40),
    "share": ("double", 0.5, 0.5),
    "flag": ("boolean", True, True),
}


def test_every_type_survives_json_and_avro():
    made = contract(**{name: schema for name, (schema, _, _) in EVERY.items()})
    document = {name: given for name, (_, given, _) in EVERY.items()}
    wanted = {name: value for name, (_, _, value) in EVERY.items()}
    assert converted(made, document) == wanted
    read = made.decode(encoded(made, document))
    assert read == wanted
    assert plain(read) == document


@pytest.mark.parametrize("known", [c for c in CATALOGUE if not c.derived], ids=lambda c: c.type)
def test_the_examples_of_the_contracts_are_json(known):
    assert plain(known.decode(encoded(known, dict(known.example)))) == known.example


@pytest.mark.parametrize(
    ("schema", "given"),
    [
        (logical("int", "date"), "2026-99-99"),
        (logical("int", "date"), "yesterday"),
        (logical("int", "date"), 20_000),
        (logical("int", "date"), "२०२६-०२-२८"),
        (logical("long", "timestamp-millis"), "2026-02-28T09:30:00"),
        (logical("bytes", "decimal", precision=4, scale=2), "1.234"),
        (logical("bytes", "decimal", precision=4, scale=2), "NaN"),
        (logical("bytes", "decimal", precision=4, scale=2), 1.5),
        ("bytes", "no base64!"),
        ("int", 2**31),
        ("int", True),
        ("int", 1.0),
        ("string", 5),
        ("string", None),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, "B"),
        ({"type": "array", "items": logical("int", "date")}, "2026-02-28"),
        ({"type": "map", "values": logical("int", "date")}, []),
    ],
)
def test_what_does_not_fit_is_named_by_its_field_and_never_quoted(schema, given):
    with pytest.raises(Misfit) as misfit:
        encoded(contract(secret=schema), {"secret": given})
    assert [(e.path, e.what) for e in misfit.value.errors] == [(("secret",), "does not fit its type")]


def test_every_wrong_field_is_named_at_once():
    known = CATALOGUE.by_type("tax.income-assessed.v1")
    with pytest.raises(Misfit) as misfit:
        encoded(known, {"income_year": "x", "assessed_on": "2026-08-03", "parts_hundredths": 1})
    assert str(misfit.value) == "field income_year: does not fit its type; field reference_income_cents: is missing"


def test_a_name_that_no_contract_knows_is_the_senders_own_text():
    known = CATALOGUE.by_type("tax.income-assessed.v1")
    with pytest.raises(Misfit) as misfit:
        encoded(known, {**known.example, "Marie Curie": 1})
    assert str(misfit.value) == "field ?: the contract has no such field"


@pytest.mark.parametrize("document", [None, [], "x", 1])
def test_a_value_is_an_object(document):
    with pytest.raises(Misfit, match="is not an object"):
        encoded(CATALOGUE.by_type("tax.income-assessed.v1"), document)


def test_two_catalogues_with_one_schema_id_are_not_mixed_up():
    assert converted(contract(a="string"), {"a": "x"}) == {"a": "x"}
    with pytest.raises(Misfit):
        converted(contract(b="string"), {"a": "x"})


def test_fastavro_itself_takes_what_is_converted():
    made = contract(day=logical("int", "date"))
    assert fastavro.validate(converted(made, {"day": "2026-02-28"}), made.parsed)
