import pytest

from passerelle.envelope import Event, event_headers
from passerelle.testkit.bus import Bus


@pytest.fixture
def routed(app):
    moves = app.outbox("civil-registry.address-changed.v1")
    fields = {
        "moved_on": moves.moved_on,
        "street": moves.new_street,
        "postcode": moves.new_postcode,
        "city": moves.new_city,
    }
    for name in ("first", "second"):

        def choose(_move):
            return True

        choose.__name__ = name
        app.route(moves, flow="move.schools", fields=fields)(choose)
    return app, moves


KEY = b"k" * 16


def headers(**changed):
    told = {
        "id": "1",
        "source": "/department/civil-registry",
        "type": "civil-registry.address-changed.v1",
        "time": "2026-01-01T00:00:00Z",
        **changed,
    }
    return event_headers(Event(**told))


def move(moves):
    return moves.contract.encode(moves.contract.example)


@pytest.mark.parametrize(
    ("reason", "spoilt"),
    [
        ("undecodable", {"value": b"garbage"}),
        ("undecodable", {"value": b""}),
        ("undecodable", {"value": None}),
        ("undecodable", {"cut": 3}),
        ("undecodable", {"more": b"!"}),
        ("unknown-schema", {"value": b"\0\0\0\xff\xffrest"}),
        ("wrong-type", {"of": "tax.income-assessed.v1"}),
        ("bad-key", {"key": None}),
        ("bad-key", {"key": b"short"}),
        ("bad-envelope", {"headers": []}),
        ("bad-envelope", {"headers": headers(source="/department/tax")}),
        ("bad-envelope", {"headers": headers(type="tax.income-assessed.v1")}),
        ("bad-envelope", {"headers": headers(time="yesterday")}),
        ("bad-envelope", {"headers": headers(time="2026-01-01T00:00:00")}),
    ],
)
def test_a_record_that_cannot_be_read_is_one_dead_letter_and_the_stream_goes_on(routed, reason, spoilt):
    app, moves = routed
    good = move(moves)
    value = spoilt.get("value", good)
    if "cut" in spoilt:
        value = good[: -spoilt["cut"]]
    if "more" in spoilt:
        value = good + spoilt["more"]
    if "of" in spoilt:
        other = app.catalogue.by_type(spoilt["of"])
        value = other.encode(other.example)
    bus = Bus(app)
    key = spoilt.get("key", KEY)
    bad = bus.append(moves.topic, key, value, spoilt.get("headers", headers()))
    after = bus.append(moves.topic, KEY, good, headers())
    (letter,) = bus.dead_letters()
    assert (letter.reason, letter.topic, letter.partition, letter.offset, letter.rule) == (
        reason,
        bad.topic,
        bad.partition,
        bad.offset,
        None,
    )
    assert {(p.origin.rule, p.origin.offset) for p in bus.proposals()} == {
        ("test.first", after.offset),
        ("test.second", after.offset),
    }


def test_dead_letters_hold_no_key_and_no_payload(routed):
    app, moves = routed
    bus = Bus(app)
    canary = b"\0\0\0\0\x02Canary Family Name"
    bus.append(moves.topic, b"Canary-Key-16-by", canary, headers(id="Canary-Id"))
    (letter,) = bus.dead_letters()
    assert b"anary" not in letter.encode()
