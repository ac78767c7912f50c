"""A new version of an event is held to what the version before promised."""

import pytest

from passerelle_schemas.compatibility import NotAvro, breaks
from passerelle_schemas.contract import Mode

MICROS = {"type": "long", "logicalType": "timestamp-micros"}
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
OPTIONAL = {"name": "floor", "type": ["null", "int"], "default": None}
STREET = {"name": "street", "type": "string"}


def schema(*fields, **changed):
    return {"type": "record", "name": "Moved", "namespace": "test.registry", "fields": list(fields), **changed}


def at(type_, **said):
    return {"name": "at", "type": type_, **said}


def decimal(precision, scale):
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


def band(*symbols, **said):
    return {"type": "enum", "name": "Band", "symbols": list(symbols), **said}


def broken(older, newer, mode):
    return [f"{where}: {what}" for where, what in breaks(older, newer, mode)]


def test_a_nullable_field_may_come_under_every_promise():
    assert broken(schema(STREET), schema(STREET, OPTIONAL), Mode.FULL) == []
    assert broken(schema(STREET, OPTIONAL), schema(STREET), Mode.FULL) == []


@pytest.mark.parametrize(
    ("older", "newer", "refused", "said"),
    [
        # What Apache Avro's checker sees: one direction each.
        (schema(STREET), schema(STREET, at("int")), Mode.BACKWARD, "new cannot read old: at: not written"),
        (schema(STREET, at("int")), schema(STREET), Mode.FORWARD, "old cannot read new: at: not written"),
        (schema(at("int")), schema(at("long")), Mode.FORWARD, "old cannot read new: at: another type"),
        (schema(at("long")), schema(at("int")), Mode.BACKWARD, "new cannot read old: at: another type"),
        (schema(at(band("A", "B"))), schema(at(band("A"))), Mode.BACKWARD, "symbols that the reader does not know"),
        (schema(at(band("A"))), schema(at(band("A", "B"))), Mode.FORWARD, "symbols that the reader does not know"),
    ],
)
def test_each_promise_refuses_its_direction(older, newer, refused, said):
    assert any(said in problem for problem in broken(older, newer, refused))
    assert any(said in problem for problem in broken(older, newer, Mode.FULL))
    assert not any(said in problem for problem in broken(older, newer, Mode.NONE))
    other = {Mode.BACKWARD: Mode.FORWARD, Mode.FORWARD: Mode.BACKWARD}[refused]
    assert not any(said in problem for problem in broken(older, newer, other))


@pytest.mark.parametrize("mode", [Mode.BACKWARD, Mode.FORWARD])
@pytest.mark.parametrize(
    ("older", "newer", "said"),
    [
        (schema(at(MICROS)), schema(at(MILLIS)), "is timestamp-millis and was timestamp-micros"),
        (schema(at(MICROS)), schema(at("long")), "is a plain number or text and was timestamp-micros"),
        (schema(at(decimal(9, 2))), schema(at(decimal(9, 3))), "has scale 3 and had 2"),
        (schema(at(decimal(9, 2))), schema(at(decimal(7, 2))), "has precision 7 and had 9"),
        (schema(at(["null", MICROS])), schema(at(["null", MILLIS])), "is timestamp-millis"),
        (schema(at({"type": "array", "items": MICROS})), schema(at({"type": "array", "items": MILLIS})), "is timesta"),
        (schema(at({"type": "map", "values": MICROS})), schema(at({"type": "map", "values": MILLIS})), "is timesta"),
        (schema(at("string")), schema(at("bytes")), "is bytes and was string"),
        (schema(at(band("A", "B", default="A"))), schema(at(band("A", default="A"))), "symbol B is gone"),
        (schema(at(MICROS)), schema({"name": "on", "type": MILLIS, "aliases": ["at"]}), "is timestamp-millis"),
        (schema(STREET), schema(STREET, namespace="test.other"), "an event keeps its full name"),
    ],
)
def test_what_avro_does_not_see(older, newer, said, mode):
    problems = broken(older, newer, mode)
    assert any(said in problem for problem in problems), problems


def test_a_record_within_is_compared_too():
    def place(time):
        return {"type": "record", "name": "Place", "fields": [{"name": "since", "type": time}]}

    problems = broken(schema(at(place(MICROS))), schema(at(place(MILLIS))), Mode.BACKWARD)
    assert problems == ["('fields', 0, 'name'): " + problems[0].partition(": ")[2]]
    assert "since: is timestamp-millis" in problems[0]


def test_what_could_be_withheld_stays_so_even_for_old_readers_alone():
    problems = broken(schema(STREET, OPTIONAL), schema(STREET, {"name": "floor", "type": "int"}), Mode.FORWARD)
    assert any("could be null and cannot any more" in problem for problem in problems)


def test_a_wider_decimal_is_read_by_the_new_and_words_may_change():
    assert broken(schema(at(decimal(7, 2))), schema(at(decimal(9, 2))), Mode.BACKWARD) == []
    assert broken(schema(STREET), schema({**STREET, "doc": "where"}), Mode.FULL) == []


def test_what_apache_avro_does_not_parse_is_a_fault():
    with pytest.raises(NotAvro, match="not an Avro schema"):
        list(breaks(schema(at("colour")), schema(at("int")), Mode.FULL))
