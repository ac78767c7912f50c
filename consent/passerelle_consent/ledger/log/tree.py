"""The Merkle tree of RFC 6962: hashes, roots, proofs and their verification. Pure.

A tree is seen through a `HashSource`: ``source(level, index)`` returns the hash of the complete subtree over the
leaves ``[index * 2**level, (index + 1) * 2**level)``. Whoever keeps tiles, rows or a list of leaves can offer one.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from hashlib import sha256
from typing import TypeAlias

from passerelle_consent.ledger.faults import Invalid

HASH_BYTES = 32
EMPTY_ROOT = sha256().digest()
"""RFC 6962, 2.1: the hash of an empty list is the hash of an empty string."""

HashSource: TypeAlias = Callable[[int, int], bytes]


def leaf_hash(entry: bytes) -> bytes:
    """RFC 6962, 2.1: 0x00 separates leaves from nodes, so that a node cannot be passed off as an entry."""
    return sha256(b"\x00" + entry).digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """`leaf_hash` of each. Written out: whoever reads a log spends half of the time here."""
    return [sha256(b"\x00" + entry).digest() for entry in entries]


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962, 2.1."""
    return sha256(b"\x01" + left + right).digest()


def source_of(leaf_hashes: Sequence[bytes]) -> HashSource:
    """Offer a list of leaf hashes as a source. Subtrees are remembered: the list must not change."""

    @cache  # at most one hash for each leaf
    def source(level: int, index: int) -> bytes:
        if level == 0:
            return leaf_hashes[index]
        return node_hash(source(level - 1, 2 * index), source(level - 1, 2 * index + 1))

    return source


def subtree_root(hashes: Sequence[bytes]) -> bytes:
    """Root over ``hashes``, of which there must be a power of two."""
    row = list(hashes)
    while len(row) > 1:
        pairs = iter(row)  # `node_hash`, written out for the same reason
        row = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
    return row[0]


def peaks(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield (level, index) of the complete subtrees that make up leaves ``[start, end)``, left to right.

    ``start`` must be a multiple of a power of two that is not below ``end - start``, as in every range of RFC 6962.
    """
    while start < end:
        level = (end - start).bit_length() - 1
        yield level, start >> level
        start += 1 << level


def range_hash(start: int, end: int, source: HashSource) -> bytes:
    """MTH(D[start:end]) of RFC 6962, 2.1, for a range as `peaks` takes it; not empty."""
    hashes = [source(level, index) for level, index in peaks(start, end)]
    result = hashes.pop()
    while hashes:
        result = node_hash(hashes.pop(), result)
    return result


def root(size: int, source: HashSource) -> bytes:
    """Root of the tree of the first ``size`` leaves."""
    return range_hash(0, size, source) if size else EMPTY_ROOT


def split(size: int) -> int:
    """The largest power of two below ``size`` (RFC 6962, 2.1: k < n <= 2k)."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion_proof(index: int, size: int, source: HashSource) -> list[bytes]:
    """PATH(index, D[size]) of RFC 6962, 2.1.1: from the leaf's sibling up."""
    if not 0 <= index < size:
        raise Invalid(f"there is no entry {index} in a tree of {size}")
    start, end, proof = 0, size, []
    while end - start > 1:
        middle = start + split(end - start)
        if index < middle:
            proof.append(range_hash(middle, end, source))
            end = middle
        else:
            proof.append(range_hash(start, middle, source))
            start = middle
    return proof[::-1]


def consistency_proof(old: int, new: int, source: HashSource) -> list[bytes]:
    """PROOF(old, D[new]) of RFC 6962, 2.1.2; empty when the sizes are equal."""
    if not 0 < old <= new:
        raise Invalid(f"no consistency proof leads from size {old} to size {new}")
    start, end, proof, inner = 0, new, [], False
    while old != end:
        middle = start + split(end - start)
        if old <= middle:
            proof.append(range_hash(middle, end, source))
            end = middle
        else:
            proof.append(range_hash(start, middle, source))
            start, inner = middle, True
    if inner:
        proof.append(range_hash(start, end, source))
    return proof[::-1]


def _check_hashes(*hashes: bytes) -> None:
    if any(len(h) != HASH_BYTES for h in hashes):
        raise Invalid(f"a hash in a proof is not {HASH_BYTES} bytes long")


def verify_inclusion(*, index: int, size: int, leaf: bytes, proof: Sequence[bytes], root_hash: bytes) -> None:
    """Check that ``leaf`` (a leaf hash) stands at ``index`` of the tree; RFC 9162, 2.1.3.2. Raises `Invalid`."""
    _check_hashes(leaf, root_hash, *proof)
    if not 0 <= index < size:
        raise Invalid(f"there is no entry {index} in a tree of {size}")
    position, last, result = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise Invalid("the inclusion proof is too long")
        if position & 1 or position == last:
            result = node_hash(sibling, result)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            result = node_hash(result, sibling)
        position, last = position >> 1, last >> 1
    if last:
        raise Invalid("the inclusion proof is too short")
    if result != root_hash:
        raise Invalid(f"the inclusion proof of entry {index} leads to another root")


def verify_consistency(*, old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of ``old`` is a prefix of the tree of ``new``; RFC 9162, 2.1.4.2. Raises `Invalid`.

    A proof from the empty tree would show nothing and is refused.
    """
    if not 0 < old <= new:
        raise Invalid(f"no consistency proof leads from size {old} to size {new}")
    if old == new:
        if proof or old_root != new_root:
            raise Invalid(f"two trees of size {old} differ, or their proof is not empty")
        return
    _check_hashes(old_root, new_root, *proof)
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise Invalid("the consistency proof is empty")
    if _fold_consistency(old, new, path) != (old_root, new_root):
        raise Invalid(f"the tree of size {new} does not contain the tree of size {old}")


def _fold_consistency(old: int, new: int, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    position, last = old - 1, new - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise Invalid("the consistency proof is too long")
        if position & 1 or position == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        position, last = position >> 1, last >> 1
    if last:
        raise Invalid("the consistency proof is too short")
    return first, second
