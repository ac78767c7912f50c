import hmac
import random
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passerelle_consent.ledger.faults import Invalid
from passerelle_consent.ledger.log.commitments import (
    DRAWN_BYTES,
    MasterKey,
    SubjectKey,
    commit,
    private_part,
    read_private,
    subject_commit,
    unseal,
)
from passerelle_consent.ledger.log.entries import Entry, EntryType
from passerelle_consent.ledger.sealing.decided import seal_decisions
from passerelle_consent.ledger.sealing.sequence import draft_of_journal
from passerelle_consent.ledger.sealing.vault import Vault
from passerelle_consent.policy.decide import Reason, Verdict
from passerelle_consent.wire import DecisionBatch, JournalEntry, JournalType, encode_decisions, read_decisions
from unit.ledger.fakes import PHONE, POLICY, TARIFF

KEYS = st.binary(min_size=32, max_size=32)
IDS = st.binary(min_size=16, max_size=16)
ANN, BOB = b"A" * 16, b"B" * 16


@given(KEYS, IDS, st.binary(max_size=100), st.integers())
def test_what_is_committed_opens(secret, ident, private, seed):
    key = SubjectKey.of(secret)
    committed = commit(key, ident, private, random.Random(seed).randbytes(DRAWN_BYTES))
    assert committed.subject_commit == hmac.new(secret, ident, sha256).digest()
    assert unseal(key, ident, committed.sealed, committed.body_commit) == private
    for wrong in (
        (SubjectKey.of(sha256(secret).digest()), ident, committed.sealed, committed.body_commit),
        (key, sha256(ident).digest()[:16], committed.sealed, committed.body_commit),
        (key, ident, committed.sealed[:-1] + bytes([committed.sealed[-1] ^ 1]), committed.body_commit),
        (key, ident, b"", committed.body_commit),
        (key, ident, committed.sealed, bytes(32)),
    ):
        with pytest.raises(Invalid):
            unseal(*wrong)


@given(KEYS, KEYS)
def test_wrapped_keys_open_for_their_subject_and_master_alone(master, secret):
    key = MasterKey.of(master)
    wrapped = key.wrap(ANN, secret, random.Random(1).randbytes)
    assert key.unwrap(ANN, wrapped) == secret
    with pytest.raises(Invalid):
        key.unwrap(BOB, wrapped)
    with pytest.raises(Invalid):
        MasterKey.of(sha256(master).digest()).unwrap(ANN, wrapped)
    with pytest.raises(Invalid):
        key.unwrap(ANN, b"")


def test_a_private_part_leaves_out_what_is_not_there():
    assert private_part(subject="ab", origin=None, withheld=["phone"]) == b'{"subject":"ab","withheld":["phone"]}'
    assert read_private(b'{"subject":"ab"}') == {"subject": "ab"}


@pytest.fixture
def vault():
    return Vault(random=random.Random(3).randbytes)


def sealed_decisions(vault, *records):
    (value,) = encode_decisions(DecisionBatch(policy=POLICY, flows=(TARIFF, PHONE), decisions=records))
    return list(seal_decisions(read_decisions(value), vault))


def journal(kind, **kwargs):
    return draft_of_journal(JournalEntry(id=bytes([len(kind)]) * 16, type=JournalType(kind), at_ms=5, **kwargs))


def test_one_key_for_one_subject(vault, town):
    sealed = sealed_decisions(vault, town.decision(), town.decision(subject=BOB), town.decision())
    entries = [Entry.parse(s.body) for s in sealed]
    assert set(vault.changes().made) == {ANN, BOB}
    for entry, subject, draft in zip(entries, (ANN, BOB, ANN), sealed, strict=True):
        key = vault.keys[subject]
        assert entry.subject_commit == subject_commit(key.secret, entry.decision)
        private = read_private(unseal(key, entry.ident, draft.sealed, entry.body_commit))
        assert private["subject"] == subject.hex()
        assert private["origin"].startswith("tariff;outbox.tax.income-assessed;0;")
        assert subject.hex().encode() not in draft.body


def test_a_subject_that_nobody_knows_gets_a_key_that_is_thrown_away(vault, town):
    deny = Verdict.DENY
    sealed = sealed_decisions(
        vault,
        town.decision(verdict=deny, reason=Reason.UNKNOWN_SUBJECT),
        town.decision(verdict=deny, reason=Reason.UNREADABLE, subject=None, flow=-1),
        town.decision(verdict=deny, reason=Reason.UNKNOWN_FLOW, flow=-1),
    )
    assert vault.changes().made == {}
    assert [s.sealed for s in sealed] == [None, None, None]
    entries = [Entry.parse(s.body) for s in sealed]
    assert len({e.subject_commit for e in entries}) == 3
    assert all(e.body_commit for e in entries)
    assert (entries[2].flow, entries[2].agreements) == (None, ())


def test_a_denial_about_a_known_subject_stays_theirs(vault, town):
    """The citizen who is denied for an unknown flow finds that in the ledger too."""
    vault.seal([journal("linked", subject=ANN, department="schools")])
    denied = town.decision(verdict=Verdict.DENY, reason=Reason.UNKNOWN_FLOW, flow=-1)
    (sealed,) = sealed_decisions(vault, denied)
    assert Entry.parse(sealed.body).subject_commit == subject_commit(vault.keys[ANN].secret, denied.id)


def test_erasure_destroys_the_key_after_its_own_entry(vault):
    (linked,) = vault.seal([journal("linked", subject=ANN, department="schools")])
    stored, secret = vault.changes().made, vault.keys[ANN].secret
    again = Vault(random=random.Random(4).randbytes)
    again.open(stored)
    (erased,) = again.seal([journal("erased", subject=ANN)])
    assert Entry.parse(erased.body).subject_commit == subject_commit(secret, erased.ident)
    assert Entry.parse(linked.body).subject_commit == subject_commit(secret, linked.ident)
    changed = again.changes()
    assert (changed.destroyed, changed.made) == ({ANN}, {})


def test_linked_anew_after_erasure_is_a_new_history(vault):
    first, _, second = vault.seal(
        [journal("linked", subject=ANN), journal("erased", subject=ANN), journal("linked", subject=ANN)]
    )
    changed = vault.changes()
    assert (changed.destroyed, set(changed.made)) == ({ANN}, {ANN})
    secret = changed.made[ANN]
    assert Entry.parse(second.body).subject_commit == subject_commit(secret, second.ident)
    assert Entry.parse(first.body).subject_commit != subject_commit(secret, first.ident)


def test_an_entry_about_nobody_carries_no_commitment(vault):
    (sealed,) = vault.seal([journal("policy", policy=POLICY)])
    entry = Entry.parse(sealed.body)
    assert (entry.type, entry.policy, entry.subject_commit, sealed.sealed) == (EntryType.POLICY, POLICY, None, None)
