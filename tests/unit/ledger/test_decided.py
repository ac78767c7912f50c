"""The hot path of decisions against the plain one: whatever a row may hold, the same bytes."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passerelle_consent.ledger.faults import Invalid
from passerelle_consent.ledger.log.commitments import body_commit, in_blocks, private_part, subject_commit
from passerelle_consent.ledger.log.entries import TIME_MS_MAX, Entry, EntryType
from passerelle_consent.ledger.sealing.decided import UNPROVEN_SUBJECT, seal_decisions
from passerelle_consent.ledger.sealing.vault import Vault
from passerelle_consent.policy.decide import Reason, Verdict
from passerelle_consent.wire import DecisionBatch, DecisionRecord, Origin, encode_decisions, read_decisions
from unit.ledger.fakes import PHONE, POLICY, TARIFF

FLOWS = (TARIFF, PHONE)
ORIGINS = st.builds(
    Origin,
    rule=st.text(max_size=10),
    topic=st.text(max_size=10),
    partition=st.integers(0, 2**31 - 1),
    offset=st.integers(0, 2**63 - 1),
    n=st.integers(0, 2**31 - 1),
)
RECORDS = st.builds(
    DecisionRecord,
    id=st.binary(min_size=16, max_size=16),
    at_ms=st.integers(0, TIME_MS_MAX),
    verdict=st.sampled_from(Verdict),
    reason=st.sampled_from(Reason),
    flow=st.integers(-1, len(FLOWS) - 1),
    withheld=st.lists(st.text(max_size=8), max_size=3).map(tuple),
    subject=st.none() | st.sampled_from([b"A" * 16, b"B" * 16]),
    origin=st.none() | ORIGINS,
)


def sealed(records, seed=5):
    vault = Vault(random=random.Random(seed).randbytes)
    (value,) = encode_decisions(DecisionBatch(policy=POLICY, flows=FLOWS, decisions=records))
    return list(seal_decisions(read_decisions(value), vault)), vault


def written_plainly(record, secret, nonce):
    """The entry as `Entry` writes it, from the record and the key alone."""
    use = FLOWS[record.flow] if record.flow >= 0 else None
    flow = {"flow": use.flow, "recipient": use.recipient, "purpose": use.purpose} if use else {}
    private = private_part(
        subject=record.subject and record.subject.hex(),
        withheld=list(record.withheld),
        origin=record.origin and record.origin.text(),
    )
    entry = Entry(
        type=EntryType.DECISION,
        time_ms=record.at_ms,
        decision=record.id,
        verdict=record.verdict,
        reason=record.reason,
        agreements=use.agreements if use else (),
        policy=POLICY,
        subject_commit=subject_commit(secret, record.id),
        body_commit=body_commit(nonce, private),
        **flow,
    )
    return entry.encode(), private


@given(st.lists(RECORDS, min_size=1, max_size=5).map(tuple))
def test_every_decision_is_written_as_its_entry_writes_itself(records):
    entries, vault = sealed(records)
    for record, entry in zip(records, entries, strict=True):
        assert Entry.parse(entry.body).encode() == entry.body
        assert entry.ident == record.id
        if entry.sealed is None:
            assert record.subject is None or record.reason in UNPROVEN_SUBJECT
            continue
        key = vault.keys[record.subject]
        opened = key.seal.decrypt(entry.sealed[:12], entry.sealed[12:], record.id)
        assert written_plainly(record, key.secret, opened[:32]) == (entry.body, opened[32:])
        assert entry.handle == key.handle


@pytest.mark.parametrize("at_ms", [-1, TIME_MS_MAX + 1, -(2**63), 2**63 - 1])
def test_a_time_that_cannot_be_said_is_refused(at_ms, town):
    record = DecisionRecord(
        id=bytes(16), at_ms=at_ms, verdict=Verdict.PERMIT, reason=Reason.VALID_BASIS, flow=0, subject=None, origin=None
    )
    with pytest.raises(Invalid):
        sealed((record,))


@pytest.mark.parametrize("name", ["Jean", 'x"', "x%s", "x,y", ""])
def test_a_flow_with_another_grammar_is_refused(name):
    """The template is an entry: what `Entry` does not take cannot become one."""
    use = TARIFF.__class__(flow=name, recipient="schools", purpose="dpv:PublicBenefit", agreements=("band@1",))
    record = DecisionRecord(
        id=bytes(16), at_ms=0, verdict=Verdict.PERMIT, reason=Reason.VALID_BASIS, flow=0, subject=None, origin=None
    )
    (value,) = encode_decisions(DecisionBatch(policy=POLICY, flows=(use,), decisions=(record,)))
    with pytest.raises(Invalid):
        list(seal_decisions(read_decisions(value), Vault(random=random.Random(1).randbytes)))


def test_no_randomness_is_used_twice():
    """GCM under one key must never see a nonce again, and a nonce must hide few possible private parts."""
    entries, _ = sealed(tuple(_same_decision(n) for n in range(500)))
    assert len({entry.sealed[:12] for entry in entries}) == 500
    assert len({json.loads(entry.body)["body_commit"] for entry in entries}) == 500


def _same_decision(number):
    return DecisionRecord(
        id=number.to_bytes(16),
        at_ms=0,
        verdict=Verdict.PERMIT,
        reason=Reason.VALID_BASIS,
        flow=0,
        subject=b"A" * 16,
        origin=None,
    )


@given(st.lists(st.integers(0, 40_000), max_size=20))
def test_blocks_hand_out_each_byte_once(counts):
    """The n-th byte drawn is never an earlier one: a counter stands for the kernel."""
    given_out = [0]

    def counting(count):
        given_out[0] += count
        return b"".join(n.to_bytes(4) for n in range((given_out[0] - count) // 4, given_out[0] // 4))[:count]

    draw = in_blocks(counting)
    words = b"".join(draw(count - count % 4) for count in counts)
    seen = [words[at : at + 4] for at in range(0, len(words), 4)]
    assert len(set(seen)) == len(seen)
