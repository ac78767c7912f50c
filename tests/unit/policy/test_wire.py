"""Every internal record round-trips, and what is not one is refused without quoting it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passerelle_consent import wire
from passerelle_consent.policy.decide import Reason, Verdict
from passerelle_consent.policy.standing import Actor, Override, Protection, Stance, Standing, State
from passerelle_consent.policy.standings import Standings
from passerelle_consent.wire import body
from passerelle_consent.wire.body import VERSION
from passerelle_consent.wire.decisions import COLUMNS, COLUMNS_VERSION, DECISIONS_PER_RECORD
from passerelle_consent.wire.erasure import ERASURE_VERSION
from passerelle_consent.wire.origin import ORIGIN_BYTES_MAX
from passerelle_consent.wire.standings import PACKED_VERSION

ids = st.binary(min_size=16, max_size=16)
digests = st.binary(min_size=32, max_size=32)
times = st.integers(0, 2**45)
revisions = st.integers(0, 2**32 - 1)
names = st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True)
refs = st.lists(names.map(lambda n: f"{n}@1"), max_size=3).map(tuple)
origins = st.builds(
    wire.Origin, rule=names, topic=names, partition=st.integers(0, 99), offset=times, n=st.integers(0, 9)
)
stances = st.builds(
    Stance,
    agreement=names,
    state=st.sampled_from(State),
    notice=st.none() | st.integers(1, 9),
    at_ms=times,
    until_ms=st.none() | times,
    by=st.sampled_from(Actor),
)
standings = st.builds(
    Standing,
    linked=st.booleans(),
    revision=revisions,
    stances=st.lists(stances, max_size=4).map(lambda ss: {s.agreement: s for s in ss}),
    restricted_since_ms=st.none() | times,
    overrides=st.lists(st.builds(Override, agreement=names, until_ms=times), max_size=2).map(tuple),
    minor_until_ms=st.none() | times,
    protection=st.none() | st.sampled_from(Protection),
)
journal = st.builds(
    wire.JournalEntry,
    id=ids,
    type=st.sampled_from(wire.JournalType),
    at_ms=times,
    subject=st.none() | ids,
    agreements=refs,
    recipient=st.none() | names,
    department=st.none() | names,
    policy=st.none() | digests,
    regarding=st.none() | ids,
    digest=st.none() | digests,
    component=st.none() | names,
    cause=st.none() | st.sampled_from(wire.Cause),
)
decisions = st.builds(
    wire.DecisionRecord,
    id=ids,
    at_ms=times,
    verdict=st.sampled_from(Verdict),
    reason=st.sampled_from(Reason),
    flow=st.integers(-1, 1),
    withheld=st.lists(names, max_size=3).map(tuple),
    subject=st.none() | ids,
    origin=st.none() | origins,
)
FLOWS = (
    wire.FlowUse(flow="f", recipient="tax", purpose="dpv:X", agreements=("a@1", "b@2")),
    wire.FlowUse(flow="g", recipient="roads", purpose="dpv:Y", agreements=("a@1",)),
)


@given(standings)
def test_standing_round_trips(standing):
    assert wire.decode_standing(wire.encode_standing(standing)) == standing


@given(journal)
def test_journal_round_trips(entry):
    assert wire.decode_journal(wire.encode_journal(entry)) == entry


def test_a_journal_entry_from_before_the_dead_letters_reads_as_ever():
    """Written by hand: version 1, whose entries end with the mandate."""
    before = b"\x01" + b"i" * 16 + b"\x16" + b"\x02" + b"\x00" * 10
    entry = wire.decode_journal(before)
    assert entry == wire.JournalEntry(id=b"i" * 16, type=wire.JournalType.KEY, at_ms=1)


@given(st.lists(decisions, min_size=1, max_size=5).map(tuple), digests)
def test_decisions_round_trip(made, policy):
    batch = wire.DecisionBatch(policy=policy, flows=FLOWS, decisions=made)
    assert [wire.decode_decisions(v) for v in wire.encode_decisions(batch)] == [batch]


def test_decisions_from_before_the_columns_read_as_ever():
    """Written by hand: version 1, a row for each decision, the second of which nobody could read."""
    flows = b"\x02" + b"\x02f" + b"\x06tax" + b"\x0adpv:X" + b"\x02\x06a@1\x00" + b"\x00"
    origin = b"\x02" + b"\x02r" + b"\x02t" + b"\x02\x04\x06"
    first = b"i" * 16 + b"\x02" + b"\x02\x00\x00" + b"\x02\x0aphone\x00" + b"\x02" + b"s" * 16 + origin
    second = b"j" * 16 + b"\x04" + b"\x04\x1c\x01" + b"\x00" + b"\x00" + b"\x00"
    batch = wire.decode_decisions(b"\x01" + b"p" * 32 + flows + b"\x04" + first + second + b"\x00")
    assert batch == wire.DecisionBatch(
        policy=b"p" * 32,
        flows=(wire.FlowUse(flow="f", recipient="tax", purpose="dpv:X", agreements=("a@1",)),),
        decisions=(
            wire.DecisionRecord(
                id=b"i" * 16,
                at_ms=1,
                verdict=Verdict.REDACT,
                reason=Reason.VALID_BASIS,
                flow=0,
                withheld=("phone",),
                subject=b"s" * 16,
                origin=wire.Origin(rule="r", topic="t", partition=1, offset=2, n=3),
            ),
            wire.DecisionRecord(
                id=b"j" * 16,
                at_ms=2,
                verdict=Verdict.DENY,
                reason=Reason.UNREADABLE,
                flow=-1,
                subject=None,
                origin=None,
            ),
        ),
    )


@pytest.mark.parametrize(("name", "value"), [("id", b"i" * 15), ("subject", b""), ("subject", b"s" * 17)])
def test_no_column_is_written_that_would_shift(name, value):
    fields = {"id": b"i" * 16, "subject": b"s" * 16, name: value}
    record = wire.DecisionRecord(
        **fields, at_ms=0, verdict=Verdict.PERMIT, reason=Reason.VALID_BASIS, flow=0, origin=None
    )
    with pytest.raises(ValueError, match="16 bytes each"):
        list(wire.encode_decisions(wire.DecisionBatch(policy=bytes(32), flows=FLOWS, decisions=(record,))))


@pytest.mark.parametrize(
    "changed",
    [
        {"id": b"i" * 31},
        {"id": b"i" * 48},
        {"subject": b"s" * 16},
        {"subject": b"s" * 32},
        {"subject": b"s" * 16 + bytes(15)},
        {"without_subject": [1, 1]},
        {"n": [0]},
        {"after_ms": [0, 1, 2]},
        {"kind": [0]},
        {"kind": [0, 1]},
        {"kind": [0, -1]},
        {"source": [0, 1]},
        {"source": [0, -2]},
        {"without_subject": [2]},
        {"without_subject": [-1]},
        {"after_ms": [0]},
        {"offset": [1, 2, 3]},
        {"kinds": [{"flow": 1, "verdict": "permit", "reason": "valid_basis", "withheld": []}]},
        {"kinds": [{"flow": -2, "verdict": "permit", "reason": "valid_basis", "withheld": []}]},
    ],
)
def test_columns_that_do_not_belong_together_are_refused(changed):
    """A shift by one would tell a decision about one person as another's."""
    columns = {
        "policy": bytes(32),
        "flows": [{"flow": "f", "recipient": "tax", "purpose": "dpv:X", "agreements": []}],
        "kinds": [{"flow": 0, "verdict": "permit", "reason": "valid_basis", "withheld": []}],
        "sources": [{"rule": "r", "topic": "t", "partition": 0}],
        "first_ms": 5,
        "after_ms": [0, 1],
        "id": b"i" * 32,
        "kind": [0, 0],
        "subject": b"s" * 16 + bytes(16),
        "without_subject": [1],
        "source": [0, -1],
        "offset": [7, 0],
        "n": [0, 0],
    }
    assert len(wire.read_decisions(body.encode(COLUMNS, columns, COLUMNS_VERSION)).rows) == 2
    with pytest.raises(wire.BadRecord):
        wire.read_decisions(body.encode(COLUMNS, {**columns, **changed}, COLUMNS_VERSION))


@given(st.builds(wire.Erasure, id=ids, revision=revisions, at_ms=times, departments=refs))
def test_erasure_round_trips_and_is_no_standing(erasure):
    value = wire.encode_erasure(erasure)
    assert wire.decode_erasure(value) == erasure
    assert value[0] == wire.ERASURE
    with pytest.raises(wire.BadRecord):
        Standings(wire.decode_standing).put(bytes(16), value)


@pytest.mark.parametrize("revision", [-1, 2**32])
def test_an_erasure_beyond_any_standing_is_refused(revision):
    """It is compared with standings' revisions, which are unsigned and four bytes."""
    erasure = wire.Erasure(id=bytes(16), revision=revision, at_ms=0, departments=())
    with pytest.raises(wire.BadRecord):
        wire.decode_erasure(wire.encode_erasure(erasure))


@given(standings)
def test_no_standing_is_taken_for_an_erasure(standing):
    assert wire.encode_standing(standing)[0] != wire.ERASURE


@given(origins)
def test_origin_round_trips(origin):
    assert wire.Origin.parse(origin.text()) == origin


def test_a_long_batch_is_split_below_the_brokers_limit():
    rest = ";outbox." + "t" * 240 + f";{2**31 - 1};{2**63 - 1};{2**31 - 1}"
    made = tuple(
        wire.DecisionRecord(
            id=bytes(16),
            at_ms=2**45 * (number % 2),
            verdict=Verdict.REDACT,
            reason=Reason.CONSENT_WITHDRAWN,
            flow=0,
            withheld=(f"a_field_of_long_name_{number:04}",) * 10,
            subject=bytes(16),
            origin=wire.Origin.parse(f"{number:04}" + "r" * (ORIGIN_BYTES_MAX - len(rest) - 4) + rest),
        )
        for number in range(DECISIONS_PER_RECORD * 2 + 1)
    )
    values = list(wire.encode_decisions(wire.DecisionBatch(policy=bytes(32), flows=FLOWS, decisions=made)))
    assert [len(wire.decode_decisions(v).decisions) for v in values] == [1500, 1500, 1]
    assert max(map(len, values)) < 1_000_000


@pytest.mark.parametrize(
    "text",
    [f"r;t;{2**31};0;0", f"r;t;0;{2**63};0", f"r;t;0;0;{2**31}", "r" * 400 + ";t;0;0;0", "r;t;-1;0;0", "r;t;0;0"],
)
def test_an_origin_that_would_not_fit_is_refused(text):
    with pytest.raises(wire.BadRecord):
        wire.Origin.parse(text)


@pytest.mark.parametrize(
    "decode",
    [
        wire.decode_standing,
        wire.decode_erasure,
        wire.decode_journal,
        wire.decode_decisions,
        wire.decode_fence,
        wire.decode_mark,
    ],
)
@given(st.binary(max_size=60))
def test_garbage_is_refused(decode, garbage):
    try:
        decode(garbage)
    except wire.BadRecord:
        return
    assert garbage[:1] in (VERSION, COLUMNS_VERSION, PACKED_VERSION, ERASURE_VERSION)


@pytest.mark.parametrize("tail", [b"", b"\0"])
def test_bytes_after_the_body_are_refused(tail):
    value = wire.encode_fence(wire.FenceMark(applied=7, worker="w"))
    assert wire.decode_fence(value).applied == 7
    if tail:
        with pytest.raises(wire.BadRecord):
            wire.decode_fence(value + tail)


def test_a_decision_has_one_id_however_often_it_is_retried():
    origin = wire.Origin(rule="r", topic="t", partition=0, offset=1, n=0)
    other = wire.Origin(rule="r", topic="t", partition=0, offset=1, n=1)
    assert wire.decision_id(origin) == wire.decision_id(wire.Origin.parse(origin.text())) != wire.decision_id(other)


def test_dead_letters_carry_references_only():
    letter = wire.DeadLetter(component="gate", reason="unreadable", topic="exchange", partition=1, offset=2)
    assert wire.DeadLetter.decode(letter.encode()) == letter
    assert set(letter.__slots__) == {"component", "reason", "topic", "partition", "offset", "rule", "error"}
    with pytest.raises(wire.BadRecord):
        wire.DeadLetter.decode(b'{"name": "someone"}')
