"""Withholding overwrites the null branch and touches no other byte."""

import io

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from passerelle_schemas.codec import Undecodable, frame
from passerelle_schemas.splice import Splicer

SCHEMA = fastavro.parse_schema(
    {
        "type": "record",
        "name": "Everything",
        "fields": [
            {"name": "flag", "type": "boolean"},
            {"name": "note", "type": ["null", "string"]},
            {"name": "count", "type": "long"},
            {"name": "late_null", "type": ["string", "null"]},
            {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}},
            {"name": "mark", "type": {"type": "fixed", "name": "Mark", "size": 3}},
            {"name": "tags", "type": {"type": "array", "items": ["null", "string"]}},
            {"name": "sizes", "type": {"type": "map", "values": "double"}},
            {
                "name": "inner",
                "type": [
                    "null",
                    {"type": "record", "name": "Inner", "fields": [{"name": "again", "type": ["null", "Inner"]}]},
                ],
            },
            {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}]},
            {"name": "ratio", "type": "float"},
            {"name": "last", "type": ["null", "bytes"]},
        ],
    }
)
NULLABLE = ["note", "late_null", "inner", "day", "last"]

inner = st.recursive(st.none(), lambda deeper: st.fixed_dictionaries({"again": deeper}), max_leaves=4)
records = st.fixed_dictionaries(
    {
        "flag": st.booleans(),
        "note": st.none() | st.text(),
        "count": st.integers(-(2**63), 2**63 - 1),
        "late_null": st.none() | st.text(),
        "kind": st.sampled_from(["A", "B"]),
        "mark": st.binary(min_size=3, max_size=3),
        "tags": st.lists(st.none() | st.text(max_size=5), max_size=5),
        "sizes": st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False), max_size=4),
        "inner": inner,
        "day": st.none() | st.dates(),
        "ratio": st.floats(width=32, allow_nan=False),
        "last": st.none() | st.binary(max_size=300),
    }
)


def encode(record):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, SCHEMA, record)
    return frame(7, out.getvalue())


@given(records, st.sets(st.sampled_from(NULLABLE)))
def test_withholding_equals_encoding_with_nulls(record, withheld):
    spliced = Splicer(SCHEMA).withhold(encode(record), withheld)
    assert spliced == encode({**record, **dict.fromkeys(withheld)})


@given(records, st.data())
def test_a_value_cut_short_is_refused(record, data):
    value = encode(record)
    cut = data.draw(st.integers(5, len(value) - 1))
    with pytest.raises(Undecodable):
        Splicer(SCHEMA).withhold(value[:cut], ["note"])


def test_bytes_after_the_body_are_refused():
    value = encode(
        {
            **dict.fromkeys(NULLABLE),
            "flag": True,
            "count": 1,
            "kind": "A",
            "mark": b"abc",
            "tags": [],
            "sizes": {},
            "ratio": 1.0,
        }
    )
    with pytest.raises(Undecodable, match="after the Avro body"):
        Splicer(SCHEMA).withhold(value + b"\0", ["note"])


def test_a_field_that_cannot_be_null_cannot_be_withheld():
    with pytest.raises(KeyError):
        Splicer(SCHEMA).withhold(b"\0\0\0\0\7", ["count"])
