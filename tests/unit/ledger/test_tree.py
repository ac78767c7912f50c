"""Our tree against the vectors of transparency-dev/merkle, and against a tree written straight from RFC 6962."""

import base64
import json
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passerelle_consent.ledger.faults import Invalid
from passerelle_consent.ledger.log import tree

ROOT = Path(__file__).parents[3]
EXCERPT = ROOT / "tests" / "vectors"
ALL = ROOT.parent / "shared" / "vectors"


def cases(name):
    folder = ALL if (ALL / name).is_file() else EXCERPT
    read = [json.loads(line) for line in (folder / name).read_text().splitlines()]
    return [pytest.param(case, id=case["case"]) for case in read]


def raw(text):
    return base64.b64decode(text)


def holds(verify, **arguments):
    try:
        verify(**arguments)
    except Invalid:
        return False
    return True


@pytest.mark.parametrize("case", cases("merkle-inclusion.jsonl"))
def test_inclusion_vector(case):
    accepted = holds(
        tree.verify_inclusion,
        index=case["leafIdx"],
        size=case["treeSize"],
        leaf=raw(case["leafHash"]),
        proof=[raw(h) for h in case["proof"] or []],
        root_hash=raw(case["root"]),
    )
    assert accepted is not case["wantErr"]


@pytest.mark.parametrize("case", cases("merkle-consistency.jsonl"))
def test_consistency_vector(case):
    accepted = holds(
        tree.verify_consistency,
        old=case["size1"],
        new=case["size2"],
        old_root=raw(case["root1"]),
        new_root=raw(case["root2"]),
        proof=[raw(h) for h in case["proof"] or []],
    )
    assert accepted is not case["wantErr"]


def test_the_excerpt_holds_proofs_of_both_kinds():
    for name in ("merkle-inclusion.jsonl", "merkle-consistency.jsonl"):
        wanted = {json.loads(line)["wantErr"] for line in (EXCERPT / name).read_text().splitlines()}
        assert wanted == {True, False}


# RFC 6962, 2.1, word for word and as slow as it reads.


def mth(leaves):
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = split(len(leaves))
    return sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def split(n):
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def path(m, leaves):
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m, leaves, whole):
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], whole=False), mth(leaves[:k])]


LEAVES = st.lists(st.binary(max_size=4), min_size=1, max_size=70)


def source(leaves):
    return tree.source_of([tree.leaf_hash(leaf) for leaf in leaves])


@given(LEAVES)
def test_root(leaves):
    assert tree.root(len(leaves), source(leaves)) == mth(leaves)


def test_root_of_the_empty_tree():
    assert tree.root(0, source([])) == mth([])


@given(LEAVES, st.data())
def test_inclusion(leaves, data):
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof = tree.inclusion_proof(index, len(leaves), source(leaves))
    assert proof == path(index, leaves)
    tree.verify_inclusion(
        index=index, size=len(leaves), leaf=tree.leaf_hash(leaves[index]), proof=proof, root_hash=mth(leaves)
    )


@given(LEAVES, st.data())
def test_consistency(leaves, data):
    old = data.draw(st.integers(1, len(leaves)))
    proof = tree.consistency_proof(old, len(leaves), source(leaves))
    assert proof == subproof(old, leaves, whole=True)
    tree.verify_consistency(old=old, new=len(leaves), old_root=mth(leaves[:old]), new_root=mth(leaves), proof=proof)


@given(LEAVES, st.data())
def test_a_bent_inclusion_proof_is_refused(leaves, data):
    size = len(leaves)
    index = data.draw(st.integers(0, size - 1))
    proof = tree.inclusion_proof(index, size, source(leaves))
    kind = data.draw(st.sampled_from(["flip", "longer", "shorter", "root", "short hash"]))
    root = mth(leaves)
    if kind == "longer":
        proof.append(bytes(32))
    elif kind == "root" or not proof:
        root = bytes(32)
    elif kind == "shorter":
        proof.pop()
    elif kind == "short hash":
        proof[0] = proof[0][:-1]
    else:
        at = data.draw(st.integers(0, len(proof) - 1))
        proof[at] = bytes([proof[at][0] ^ 1]) + proof[at][1:]
    with pytest.raises(Invalid):
        tree.verify_inclusion(index=index, size=size, leaf=tree.leaf_hash(leaves[index]), proof=proof, root_hash=root)


@pytest.mark.parametrize(("old", "new"), [(0, 3), (4, 3), (-1, 3)])
def test_no_consistency_proof_between_these(old, new):
    with pytest.raises(Invalid):
        tree.consistency_proof(old, new, source([b"a", b"b", b"c"]))


@pytest.mark.parametrize("index", [-1, 3])
def test_no_inclusion_proof_of_these(index):
    with pytest.raises(Invalid):
        tree.inclusion_proof(index, 3, source([b"a", b"b", b"c"]))
