"""Judging proposals: every way in which one can end, and what is released."""

import pytest

from passerelle.envelope import delivery_headers, parse_proposal
from passerelle.gate.judge import PROPOSAL_BYTES_MAX, Record, judge
from passerelle.gate.marks import exchange_origin
from passerelle_consent.wire import DeadLetter, FlowUse, Mark, decision_id, mark_key
from unit.gate.town import (
    ANN,
    ASSESSED,
    BOB,
    KEYRING,
    MOVED,
    POLICY,
    VALUE,
    grounds,
    headers,
    origin,
    proposal,
    without,
)
from unit.policy.city import NOW_MS, stance, standing

CONSENTING = standing(stance("phone", "given"), stance("police", "given"))
REDACTED = MOVED.encode({"street": "rue des Tanneurs", "phone": None})


def one(record, **known):
    judged = judge([record], grounds(**known), NOW_MS)
    (decision,) = judged.decisions.decisions
    return judged, decision


def test_a_permit_delivers_the_value_as_it_is_under_the_recipients_pseudonym():
    judged, decision = one(proposal(7), standings={ANN: CONSENTING})
    (delivery,) = judged.deliveries
    assert (decision.verdict, decision.reason) == ("permit", "valid-basis")
    assert delivery.topic == "inbox.schools"
    assert delivery.key == KEYRING.pseudonym("schools", ANN)
    assert delivery.value == VALUE


def test_a_delivery_says_what_the_envelope_says_of_deliveries():
    record = proposal(7)
    judged, decision = one(record, standings={ANN: CONSENTING})
    expected = delivery_headers(
        parse_proposal(record.headers), decision=decision.id, purpose="dpv:ServiceProvision", policy=POLICY.digest
    )
    assert sorted(judged.deliveries[0].headers) == sorted(expected)


def test_no_header_of_a_delivery_leads_back_to_the_origin_or_the_subject():
    (delivery,) = judge([proposal(7)], grounds(), NOW_MS).deliveries
    said = b"".join(value for _, value in delivery.headers)
    assert ANN not in said
    assert ANN.hex().encode() not in said
    assert b"outbox." not in said


def test_a_redaction_overwrites_the_withheld_field_and_nothing_else():
    judged, decision = one(proposal(7))
    assert (decision.verdict, decision.reason) == ("redact", "consent-not-given")
    assert decision.withheld == ("phone",)
    assert judged.deliveries[0].value == REDACTED


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("withdrawn", "consent-withdrawn"),
        ("refused", "consent-refused"),
        ("expired", "consent-expired"),
        ("requested", "consent-not-given"),
    ],
)
def test_a_denial_delivers_nothing(state, reason):
    judged, decision = one(proposal(flow="move.police"), standings={ANN: standing(stance("police", state))})
    assert (decision.verdict, decision.reason) == ("deny", reason)
    assert judged.deliveries == ()
    assert judged.dead_letters == ()


def test_a_subject_whom_nobody_linked_is_unknown():
    judged, decision = one(proposal(), standings={})
    assert (decision.verdict, decision.reason, decision.subject) == ("deny", "unknown-subject", ANN)
    assert judged.deliveries == ()


def test_a_consent_that_has_run_out_by_now_lets_nothing_pass():
    expired = standing(stance("police", "given", until_ms=NOW_MS))
    _, decision = one(proposal(flow="move.police"), standings={ANN: expired})
    assert decision.reason == "consent-expired"


def test_an_unknown_flow_is_a_denial_that_names_no_flow():
    judged, decision = one(proposal(flow="move.nobody"))
    assert (decision.verdict, decision.reason, decision.flow) == ("deny", "unknown-flow", -1)
    assert judged.decisions.flows == ()
    assert judged.dead_letters == ()


def test_a_decision_names_flow_policy_subject_and_origin():
    judged, decision = one(proposal(7))
    assert judged.decisions.policy == POLICY.digest
    assert judged.decisions.flows[decision.flow] == FlowUse(
        flow="move.schools", recipient="schools", purpose="dpv:ServiceProvision", agreements=("street@1", "phone@1")
    )
    assert (decision.subject, decision.origin, decision.at_ms) == (ANN, origin(7), NOW_MS)
    assert decision.id == decision_id(origin(7))


WRONG = {
    "no-headers": (Record(9, ANN, VALUE, None), "BadEnvelope"),
    "no-flow": (without(proposal(9), "ce_flow"), "BadEnvelope"),
    "no-origin": (without(proposal(9), "ce_origin"), "BadEnvelope"),
    "not-cloudevents": (without(proposal(9), "ce_specversion"), "BadEnvelope"),
    "header-too-long": (proposal(9, flow="f" * 600), "BadEnvelope"),
    "header-not-text": (Record(9, ANN, VALUE, [*headers()[:-1], ("ce_origin", b"\xff")]), "BadEnvelope"),
    "offset-beyond-kafka": (proposal(9, at=origin(2**63)), "BadEnvelope"),
    "no-key": (proposal(9, key=None), "NotASubjectRef"),
    "key-of-another-size": (proposal(9, key=b"short"), "NotASubjectRef"),
    "no-value": (proposal(9, value=None), "NoValue"),
    "too-large": (proposal(9, value=bytes(PROPOSAL_BYTES_MAX + 1)), "TooLarge"),
    "empty": (proposal(9, value=b""), "Undecodable"),
    "garbage": (proposal(9, value=b"\x93garbage"), "Undecodable"),
    "unknown-schema": (proposal(9, value=b"\0\0\0\x03\xe7" + VALUE[5:]), "UnknownContract"),
    "cut-short": (proposal(9, value=VALUE[:-3]), "Undecodable"),
    "trailing-bytes": (proposal(9, value=VALUE + b"\0"), "Undecodable"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_read_is_denied_and_leaves_a_dead_letter(case):
    record, error = WRONG[case]
    judged, decision = one(record, standings={ANN: CONSENTING})
    (letter,) = judged.dead_letters
    assert (decision.verdict, decision.reason) == ("deny", "unreadable")
    assert judged.deliveries == ()
    assert (letter.reason, letter.error) == ("unreadable", error)
    assert (letter.component, letter.topic, letter.partition, letter.offset) == ("gate", "exchange", 3, 9)


def test_a_value_of_another_event_is_of_the_wrong_type():
    judged, decision = one(proposal(value=ASSESSED.encode({"income": 1})))
    assert (decision.verdict, decision.reason) == ("deny", "wrong-type")
    assert judged.dead_letters[0].error == "WrongSchema"


def test_an_envelope_that_claims_another_event_is_of_the_wrong_type():
    judged, decision = one(proposal(type_="tax.assessed.v1"))
    assert (decision.verdict, decision.reason) == ("deny", "wrong-type")
    assert judged.dead_letters[0].error == "WrongType"


def test_a_dead_letter_carries_neither_payload_nor_person():
    (letter,) = judge([proposal(9, value=VALUE[:-3])], grounds(), NOW_MS).dead_letters
    text = letter.encode()
    assert DeadLetter.decode(text) == letter
    assert b"Tanneurs" not in text
    assert ANN not in text
    assert ANN.hex().encode() not in text


def test_the_origin_is_kept_when_only_the_rest_is_unreadable():
    _, decision = one(without(proposal(9, at=origin(4)), "ce_flow"))
    assert decision.origin == origin(4)


def test_without_readable_origin_the_place_on_the_exchange_identifies():
    judged, decision = one(without(proposal(9), "ce_origin"))
    assert decision.origin == exchange_origin(3, 9)
    assert judged.dead_letters[0].rule is None


def test_a_replay_is_dropped_and_counted():
    judged = judge([proposal(5), proposal(6, at=origin(5))], grounds(), NOW_MS)
    assert len(judged.decisions.decisions) == len(judged.deliveries) == 1
    assert judged.counts["replays_dropped"] == 1


def test_a_replay_of_what_was_decided_before_is_dropped():
    known = {mark_key(origin()): Mark(offset=9, n=1)}
    replayed = [proposal(20, at=origin(8)), proposal(21, at=origin(9, 0)), proposal(22, at=origin(9, 1))]
    judged = judge([*replayed, proposal(23, at=origin(9, 2))], grounds(marks=known), NOW_MS)
    assert judged.counts["replays_dropped"] == 3
    assert [d.origin for d in judged.decisions.decisions] == [origin(9, 2)]
    assert judged.moved == {mark_key(origin()): Mark(offset=9, n=2)}


def test_replays_of_the_unreadable_are_dropped_too():
    garbage = proposal(9, value=b"\x93")
    judged = judge([garbage, garbage._replace(offset=10)], grounds(), NOW_MS)
    assert len(judged.dead_letters) == 1
    assert judged.counts["replays_dropped"] == 1


def test_what_lies_unreadable_on_the_exchange_is_decided_once_however_often_it_is_read():
    garbage = Record(9, None, b"\x93", None)
    moved = judge([garbage], grounds(), NOW_MS).moved
    again = judge([garbage, garbage._replace(offset=10)], grounds(marks=moved), NOW_MS)
    assert again.counts["replays_dropped"] == 1
    assert [d.origin.offset for d in again.decisions.decisions] == [10]


def test_rules_have_marks_of_their_own():
    judged = judge([proposal(5), proposal(6, at=origin(5, rule="other"))], grounds(), NOW_MS)
    assert judged.counts["replays_dropped"] == 0
    assert len(judged.moved) == 2


def test_judging_changes_nothing_of_what_it_judges_by():
    known = {mark_key(origin()): Mark(offset=3, n=0)}
    judge([proposal(5)], grounds(marks=known), NOW_MS)
    assert known == {mark_key(origin()): Mark(offset=3, n=0)}


def test_deliveries_to_one_inbox_keep_the_order_of_the_exchange_across_flows():
    mixed = [
        proposal(1),
        proposal(2, flow="income.schools", value=ASSESSED.encode({"income": 1}), type_="tax.assessed.v1"),
        proposal(3, key=BOB),
        proposal(4, flow="move.police"),
        proposal(5, flow="income.schools", value=ASSESSED.encode({"income": 2}), type_="tax.assessed.v1"),
    ]
    judged = judge(mixed, grounds(standings={ANN: CONSENTING, BOB: CONSENTING}), NOW_MS)
    schools = [(d.key, d.value) for d in judged.deliveries if d.topic == "inbox.schools"]
    ann, bob = KEYRING.pseudonym("schools", ANN), KEYRING.pseudonym("schools", BOB)
    assert schools == [(ann, VALUE), (ann, mixed[1].value), (bob, VALUE), (ann, mixed[4].value)]
    assert [d.key for d in judged.deliveries if d.topic == "inbox.police"] == [KEYRING.pseudonym("police", ANN)]


def test_a_batch_names_only_the_flows_that_it_used():
    judged = judge([proposal(1, flow="move.police"), proposal(2), proposal(3)], grounds(), NOW_MS)
    assert [f.flow for f in judged.decisions.flows] == ["move.police", "move.schools"]
    assert [d.flow for d in judged.decisions.decisions] == [0, 1, 1]


def test_counts_are_by_verdict_and_by_reason_of_denial():
    judged = judge([proposal(1), proposal(2, flow="nothing"), proposal(3, value=b"")], grounds(), NOW_MS)
    assert judged.counts == {
        "redact": 1,
        "deny": 2,
        "deny.unknown-flow": 1,
        "deny.unreadable": 1,
        "dead_letters": 1,
    }
