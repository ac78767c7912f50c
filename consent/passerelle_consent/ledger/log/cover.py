"""One proof for many entries of a tree: the hashes of all that they leave out. Pure.

The tree of RFC 6962 is walked from left to right. A subtree without any of the entries is one hash of the proof; one
that is such an entry is its leaf; every other is the hash of its halves. For one entry these are the hashes of its
inclusion proof, for a run of entries some 2 log n, for all of them none. Entries and hashes are read as they come, so
that a proof about millions needs no more memory than one about a few.
"""

from collections.abc import Iterable, Iterator

from passerelle_consent.ledger.faults import Invalid
from passerelle_consent.ledger.log import tree

Leaf = tuple[int, bytes]
"""Index and leaf hash of an entry."""


def cover(indices: Iterable[int], size: int, source: tree.HashSource) -> Iterator[bytes]:
    """Yield the proof for these entries, ascending, in a tree of ``size``. Raises `Invalid` for others."""
    ahead = _Ahead((index, b"") for index in indices)
    yield from _left_out(0, size, ahead, source)
    ahead.end(size)


def _left_out(start: int, end: int, ahead: "_Ahead", source: tree.HashSource) -> Iterator[bytes]:
    if start == end:
        return
    if not ahead.within(start, end):
        yield tree.range_hash(start, end, source)
    elif end - start == 1:
        ahead.take()
    else:
        middle = start + tree.split(end - start)
        yield from _left_out(start, middle, ahead, source)
        yield from _left_out(middle, end, ahead, source)


def covered_root(leaves: Iterable[Leaf], size: int, hashes: Iterator[bytes]) -> bytes:
    """Return the root that entries and their proof lead to. Raises `Invalid` when they do not fit each other."""
    ahead = _Ahead(leaves)
    root = _root(0, size, ahead, hashes) if size else tree.EMPTY_ROOT
    ahead.end(size)
    if next(hashes, None) is not None:
        raise Invalid("the proof has more hashes than its entries need")
    return root


def _root(start: int, end: int, ahead: "_Ahead", hashes: Iterator[bytes]) -> bytes:
    if not ahead.within(start, end):
        found = next(hashes, None)
        if found is None:
            raise Invalid("the proof has fewer hashes than its entries need")
        return found
    if end - start == 1:
        return ahead.take()
    middle = start + tree.split(end - start)
    left = _root(start, middle, ahead, hashes)
    return tree.node_hash(left, _root(middle, end, ahead, hashes))


class _Ahead:
    """Entries, of which the next one can be seen. They must ascend."""

    def __init__(self, leaves: Iterable[Leaf]) -> None:
        self._leaves = iter(leaves)
        self._next = next(self._leaves, None)

    def within(self, start: int, end: int) -> bool:
        """Whether the next one is in this range. Raises `Invalid` for one that should have come before it."""
        if self._next is not None and self._next[0] < start:
            raise Invalid(f"entry {self._next[0]} is out of order")
        return self._next is not None and self._next[0] < end

    def take(self) -> bytes:
        """Return the next one's leaf."""
        assert self._next is not None, "it was looked at"  # noqa: S101 - an invariant, for mypy
        leaf = self._next[1]
        self._next = next(self._leaves, None)
        return leaf

    def end(self, size: int) -> None:
        """Raise `Invalid` when there are more."""
        if self._next is not None:
            raise Invalid(f"there is no entry {self._next[0]} in a tree of {size}, or it is out of order")
