"""CloudEvents headers, strict on the way in."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from passerelle.envelope import (
    BadEnvelope,
    Event,
    Proposal,
    delivery_headers,
    event_headers,
    parse_event,
    parse_proposal,
    proposal_headers,
    proposal_id,
    rfc3339,
)
from passerelle_consent.wire import Origin

EVENT = Event(id="e-1", source="/department/tax", type="tax.income-assessed.v1", time="2026-11-23T10:00:00.000Z")
ORIGIN = Origin(rule="meal-tariff", topic="outbox.tax.income-assessed", partition=3, offset=41, n=0)


def test_headers_round_trip():
    assert parse_event(event_headers(EVENT)) == EVENT
    proposal = Proposal(event=EVENT, flow="meal-tariff.schools", origin=ORIGIN)
    assert parse_proposal(proposal_headers(EVENT, flow="meal-tariff.schools", origin=ORIGIN)) == proposal


def test_a_delivery_carries_the_decision_and_not_the_origin():
    proposal = Proposal(event=EVENT, flow="f", origin=ORIGIN)
    headers = dict(delivery_headers(proposal, decision=bytes(16), purpose="dpv:X", policy=bytes(32)))
    assert headers["ce_decisionid"] == b"0" * 32
    assert headers["ce_policy"] == b"0" * 64
    assert "ce_origin" not in headers
    assert parse_event(headers.items()) == EVENT


@pytest.mark.parametrize(
    "missing", ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "ce_flow", "ce_origin"]
)
def test_a_missing_header_is_named(missing):
    headers = [h for h in proposal_headers(EVENT, flow="f", origin=ORIGIN) if h[0] != missing]
    with pytest.raises(BadEnvelope, match=missing):
        parse_proposal(headers)


@pytest.mark.parametrize("bad", [b"", b"\xff\xfe", b"x" * 513])
def test_a_bad_header_is_named_and_not_quoted(bad):
    headers = dict(proposal_headers(EVENT, flow="f", origin=ORIGIN)) | {"ce_flow": bad}
    with pytest.raises(BadEnvelope, match="ce_flow"):
        parse_proposal(headers.items())


@pytest.mark.parametrize("bad", ["a;b;0;0", "a;b;-1;0;0", "a;b;x;0;0", ";b;0;0;0", "a;b;00;0;0", "a;b;0;0;0;0"])
def test_a_bad_origin_is_refused(bad):
    headers = dict(proposal_headers(EVENT, flow="f", origin=ORIGIN)) | {"ce_origin": bad.encode()}
    with pytest.raises(BadEnvelope, match="ce_origin"):
        parse_proposal(headers.items())


def test_a_proposals_id_is_the_same_on_every_replay_and_differs_by_flow():
    assert proposal_id(ORIGIN, "f") == proposal_id(ORIGIN, "f") != proposal_id(ORIGIN, "g")


def test_time_is_utc_with_milliseconds():
    paris = timezone(timedelta(hours=1))
    assert rfc3339(datetime(2026, 11, 23, 11, tzinfo=paris)) == "2026-11-23T10:00:00.000Z"
    assert rfc3339(datetime(2026, 11, 23, 10, 0, 0, 123456, tzinfo=UTC)) == "2026-11-23T10:00:00.123Z"
