import json
from dataclasses import fields

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from passerelle_consent.ledger.faults import Invalid
from passerelle_consent.ledger.log.canonical import canonical
from passerelle_consent.ledger.log.entries import ALLOWED, REQUIRED, TIME_MS_MAX, Entry, EntryType
from passerelle_consent.policy.decide import Reason, Verdict
from passerelle_consent.wire import Cause, JournalType

SLUGS = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True)
VALUES = {
    "decision": st.binary(min_size=16, max_size=16),
    "id": st.binary(min_size=16, max_size=16),
    "verdict": st.sampled_from(Verdict),
    "reason": st.sampled_from(Reason),
    "flow": st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True),
    "recipient": SLUGS,
    "purpose": st.from_regex(r"dpv:[A-Za-z]{1,20}", fullmatch=True),
    "department": SLUGS,
    "agreements": st.lists(SLUGS.map(lambda s: f"{s}@3"), max_size=3).map(tuple),
    "policy": st.binary(min_size=32, max_size=32),
    "regarding": st.binary(min_size=16, max_size=16),
    "digest": st.binary(min_size=32, max_size=32),
    "component": st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True),
    "cause": st.sampled_from(Cause),
    "subject_commit": st.binary(min_size=32, max_size=32),
    "body_commit": st.binary(min_size=32, max_size=32),
}
TOGETHER = [{"flow", "recipient", "purpose"}, {"subject_commit", "body_commit"}]


@st.composite
def entries(draw, *kinds):
    kind = draw(st.sampled_from(kinds or tuple(EntryType)))
    names = set(REQUIRED[kind]) | set(draw(st.lists(st.sampled_from(sorted(ALLOWED[kind])))))
    for group in TOGETHER:
        if names & group and group <= ALLOWED[kind] and not (kind is not EntryType.DECISION and "flow" in group):
            names |= group
    return Entry(type=kind, time_ms=draw(st.integers(0, TIME_MS_MAX)), **{n: draw(VALUES[n]) for n in sorted(names)})


@given(entries())
def test_every_entry_reads_back_and_is_rfc_8785(entry):
    raw = entry.encode()
    assert Entry.parse(raw) == entry
    assert rfc8785.dumps(json.loads(raw)) == raw


@pytest.mark.parametrize("kind", EntryType)
def test_each_type_round_trips(kind):
    @settings(max_examples=25)
    @given(entries(kind))
    def check(entry):
        assert Entry.parse(entry.encode()) == entry

    check()


@given(
    st.dictionaries(
        st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1),
        st.text() | st.integers(-(2**53) + 1, 2**53 - 1) | st.lists(st.text()),
    )
)
def test_our_encoder_is_rfc_8785(plain):
    assert canonical(plain) == rfc8785.dumps(plain)


def test_every_journal_type_has_an_entry_type():
    assert {str(t) for t in EntryType} == {str(t) for t in JournalType} | {"decision"}


def test_no_field_can_hold_personal_data():
    """Free text has no place: each field is a closed set, a digest, a time, or a name in its files' grammar."""
    telling = ["Amélie Durand", "amelie@example.org", "12 rue de la Paix", "+33 6 12 34 56 78", "Durand", "DURAND"]
    for kind in EntryType:
        for name in {f.name for f in fields(Entry)} - {"type", "time_ms"}:
            for text in telling:
                with pytest.raises(Invalid):
                    Entry(type=kind, time_ms=0, **{name: text})
                with pytest.raises(Invalid):
                    Entry(type=kind, time_ms=0, **{name: (text,)})


DECISION = Entry(
    type=EntryType.DECISION,
    time_ms=1_760_000_000_123,
    decision=b"d" * 16,
    verdict=Verdict.REDACT,
    reason=Reason.CONSENT_WITHDRAWN,
    flow="report-filed.roads",
    recipient="roads",
    purpose="dpv:PublicBenefit",
    agreements=("phone@1", "reports@2"),
    policy=b"p" * 32,
    subject_commit=b"s" * 32,
    body_commit=b"b" * 32,
)
RAW = DECISION.encode()


def test_what_a_decision_looks_like():
    assert RAW.decode() == (
        '{"agreements":["phone@1","reports@2"],"body_commit":"' + "62" * 32 + '","decision":"' + "64" * 16 + '",'
        '"flow":"report-filed.roads","policy":"' + "70" * 32 + '","purpose":"dpv:PublicBenefit",'
        '"reason":"consent-withdrawn","recipient":"roads","subject_commit":"' + "73" * 32 + '",'
        '"time":"2025-10-09T08:53:20.123Z","type":"decision","v":1,"verdict":"redact"}'
    )


def altered(**changes):
    read = {**json.loads(RAW), **changes}
    return rfc8785.dumps({k: v for k, v in read.items() if v is not None})


REFUSED = {
    "not JSON": b"{",
    "not UTF-8": b"\xff",
    "not an object": b"[]",
    "deep": b"[" * 60_000,
    "a space": RAW.replace(b'":"', b'": "', 1),
    "a newline after": RAW + b"\n",
    "a byte order mark": b"\xef\xbb\xbf" + RAW,
    "an escape": RAW.replace(b"roads", b"\\u0072oads", 1),
    "another order": json.dumps(json.loads(RAW), separators=(",", ":"), sort_keys=True)
    .replace('"v":1,"verdict":"redact"', '"verdict":"redact","v":1')
    .encode(),
    "a name twice": RAW.replace(b'"v":1', b'"v":1,"v":1'),
    "no version": altered(v=None),
    "another version": altered(v=2),
    "true for one": RAW.replace(b'"v":1', b'"v":true'),
    "one as a fraction": RAW.replace(b'"v":1', b'"v":1.0'),
    "an unknown field": altered(note="x"),
    "a field of another type": altered(regarding="00" * 16),
    "an unknown type": altered(type="deleted"),
    "an unknown verdict": altered(verdict="maybe"),
    "an unknown reason": altered(reason="because"),
    "a verdict that is a list": altered(verdict=["permit"]),
    "upper-case digits": altered(decision="AB" * 16),
    "spaces in digits": altered(decision="ab " * 10 + "ab"),
    "a short id": altered(decision="ab" * 15),
    "a missing commitment": altered(body_commit=None),
    "half a flow": altered(purpose=None),
    "a flow in capitals": altered(flow="Report"),
    "a purpose of our own": altered(purpose="because"),
    "an agreement without version": altered(agreements=["phone"]),
    "an agreement of version 01": altered(agreements=["phone@01"]),
    "agreements as text": altered(agreements="phone@1"),
    "agreements as an object": altered(agreements={"phone@1": 1}),
    "too many agreements": altered(agreements=["phone@1"] * 33),
    "a time in seconds": altered(time="2025-10-09T08:53:20Z"),
    "a time elsewhere": altered(time="2025-10-09T08:53:20.123+02:00"),
    "no such day": altered(time="2025-02-30T08:53:20.123Z"),
    "a leap second": altered(time="2016-12-31T23:59:60.000Z"),
    "before 1970": altered(time="1969-12-31T23:59:59.999Z"),
    "year zero": altered(time="0000-10-09T08:53:20.123Z"),
    "digits of another script": altered(time="\u0662\u0660\u0662\u0665-10-09T08:53:20.123Z"),
    "a time that is a number": altered(time=1760000000123),
    "null": RAW.replace(b'"redact"', b"null"),
    "a surrogate": RAW.replace(b"roads", b"\\ud800", 1),
    "a number of thousands of digits": RAW.replace(b'"v":1', b'"v":' + b"1" * 5000),
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
def test_refused(raw):
    with pytest.raises(Invalid):
        Entry.parse(raw)


def test_any_flipped_bit_is_refused_or_another_entry():
    """One entry has one spelling: what still parses after a flip says something else, so its hash differs rightly."""
    for at in range(len(RAW)):
        for bit in range(8):
            bent = RAW[:at] + bytes([RAW[at] ^ 1 << bit]) + RAW[at + 1 :]
            try:
                other = Entry.parse(bent)
            except Invalid:
                continue
            assert other != DECISION
            assert other.encode() == bent


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "replace")))
def test_garbage_never_leaks_another_error(raw):
    with pytest.raises(Invalid):
        Entry.parse(raw)


@pytest.mark.parametrize("time_ms", [-1, TIME_MS_MAX + 1, True, 1.0])
def test_times_that_cannot_be_said(time_ms):
    with pytest.raises(Invalid):
        Entry(type=EntryType.KEY, time_ms=time_ms, id=bytes(16))
