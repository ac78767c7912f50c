"""The policy's bytes: the same policy has the same digest, and travels whole."""

import gzip

import pytest

from passerelle_consent.policy.bundle import BadBundle, PolicyBundle
from unit.policy.city import CATALOGUE, agreement, flow

WHOLE = {"registry.moved.v1": ["street", "phone"]}
TERMS = [agreement("b", "6-1-b", WHOLE, subjects=["minor", "adult", "protected-adult"]), agreement("a", "6-1-a", WHOLE)]
FLOWS = [
    flow("g", "registry.moved.v1", ["b@1"], ["street", "phone"]),
    flow("f", "registry.moved.v1", ["a@1"], ["street"], ["phone"]),
]


def test_the_order_of_files_does_not_change_the_digest():
    there, back = PolicyBundle.of(TERMS, FLOWS, CATALOGUE), PolicyBundle.of(TERMS[::-1], FLOWS[::-1], CATALOGUE)
    assert there.digest == back.digest
    assert there.pack() == back.pack()


def test_any_change_changes_the_digest():
    changed = [TERMS[0], agreement("a", "6-1-a", WHOLE, retention="P2Y")]
    assert PolicyBundle.of(changed, FLOWS, CATALOGUE).digest != PolicyBundle.of(TERMS, FLOWS, CATALOGUE).digest


def test_a_bundle_travels_whole():
    sent = PolicyBundle.of(TERMS, FLOWS, CATALOGUE)
    received = PolicyBundle.unpack(sent.pack())
    assert received.digest == sent.digest
    assert {a.ref: a for a in received.agreements} == {a.ref: a for a in TERMS}
    assert {f.id: f for f in received.flows} == {f.id: f for f in FLOWS}
    assert received.table().flow("f") == sent.table().flow("f")


@pytest.mark.parametrize("garbage", [b"", b"x", gzip.compress(b"{", mtime=0), gzip.compress(b"{}", mtime=0)[:-3]])
def test_garbage_is_no_bundle(garbage):
    with pytest.raises(BadBundle):
        PolicyBundle.unpack(garbage)


def test_a_document_of_something_else_does_not_compile():
    with pytest.raises(BadBundle):
        PolicyBundle.unpack(gzip.compress(b"{}")).table()
