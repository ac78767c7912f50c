"""Take a record of `consent` apart without parsing it. Pure.

`passerelle_consent.wire` writes it so that this is quick: first what is each citizen's own, at a fixed width; then an
Avro body; then counts, at a fixed width from the end.

    version · revision · turns … · said at … · the person and what was said (Avro) · number of turns · of stances
    1         4          6 each    6 each                                            2                 2

A *turn* is an instant at which a standing changes by itself: a consent ends, a minor comes of age, an override is over.
Turns ascend, and what was said names them by their place. So the body of two citizens who stand alike is the same,
whenever they said it, and what counts of the turns at an instant is only how many have passed. In the body a `MARK`
stands before each stance: one split yields the parts, and these repeat, however freely citizens choose.

What does not look usual (a restriction, an override, a long name) is left to the full parser, also when it is no
standing at all; tests hold the two together.
"""

import re
from typing import NamedTuple

from passerelle_consent.policy.standing import Protection, State

REVISION_BYTES, INSTANT_BYTES, COUNT_BYTES = 4, 6, 2
"""Numbers are unsigned, most significant byte first: bytes compare as numbers do. Four bytes count four thousand
million changes of one subject; milliseconds last until 10889."""
OWN_AT = 1 + REVISION_BYTES
"""Where the turns begin."""
MARK = b"\xff"
"""Stands before each stance, and nowhere else in a usual body. A notice numbered far beyond any may hold this byte:
then the parts are none, and the full parser reads the record."""
TURNS_MAX = 64
"""Turns that are scanned: Avro writes so many places in one byte."""
STANCES_MAX = 63
"""Stances of one subject that are scanned: Avro counts so many in one byte."""
TAIL_BYTES = 1 + 2 * COUNT_BYTES
"""The end of the stances, a zero, and the counts."""


def _even(first: int, last: int) -> bytes:
    """A byte of Avro's zigzag (1.12, "Binary encoding"), where numbers from 0 up are even."""
    return b"[" + b"".join(re.escape(bytes([n])) for n in range(first, last + 1, 2)) + b"]"


_STATES, _PROTECTIONS = tuple(State), tuple(Protection)
_NAME = _even(2, 126) + rb"[a-z][a-z0-9-]*"
_STATE = _even(0, 2 * len(_STATES) - 2)
_NOTICE = rb"\x00|\x02[\x80-\xff]{0,8}[\x00-\x7f]"
"""A long of 9 bytes at most: the full parser knows what to do with more."""
_TURN = rb"\x00|\x02" + _even(0, 2 * TURNS_MAX - 2)
_PROTECTED = rb"\x00|\x02" + _even(0, 2 * len(_PROTECTIONS) - 2)

_HEAD = re.compile(rb"\x01(" + _PROTECTED + rb")(" + _TURN + rb")\x00\x00(" + _even(2, 2 * STANCES_MAX) + rb"?)")
"""Linked, the protection, the turn of majority, no restriction, no override; the count of stances, if there are any."""
_PART = re.compile(rb"(" + _NAME + rb")(" + _STATE + rb")(" + _NOTICE + rb")(" + _TURN + rb")[\x00\x02\x04]")
"""What decides of a stance; then who said it."""


class Person(NamedTuple):
    """What decides about a subject besides the stances; ``turn`` is the place of majority."""

    protection: Protection | None
    turn: int | None


class Said(NamedTuple):
    """What of a stance decides; ``turn`` is the place of its end."""

    agreement: str
    state: State
    notice: int | None
    turn: int | None


class Counts(NamedTuple):
    """How many turns and stances a record has."""

    turns: int
    stances: int


def read_tail(tail: bytes) -> Counts | None:
    """Read the last bytes of a record; None when they are not usual."""
    if len(tail) < TAIL_BYTES or tail[0] or tail[1] or tail[3]:
        return None
    counts = Counts(turns=tail[2], stances=tail[4])
    return counts if counts.turns <= TURNS_MAX and counts.stances <= STANCES_MAX else None


def read_head(head: bytes, counts: Counts) -> Person | None:
    """Read what stands before the first mark; None when it is not usual, or not of a record with these counts."""
    found = _HEAD.fullmatch(head)
    if found is None or found[3] != bytes([2 * counts.stances][: counts.stances]):
        return None
    protection, turn = found[1], _place(found[2])
    if turn is not None and turn >= counts.turns:
        return None
    return Person(_PROTECTIONS[protection[1] >> 1] if len(protection) > 1 else None, turn)


def read_part(part: bytes, turns: int) -> Said | None:
    """Read what stands behind a mark; None when it is not usual, or names a turn that there is not."""
    found = _PART.fullmatch(part)
    if found is None or found[1][0] >> 1 != len(found[1]) - 1:
        return None
    name, state, notice, turn = found[1], found[2], found[3], _place(found[4])
    if turn is not None and turn >= turns:
        return None
    return Said(name[1:].decode(), _STATES[state[0] >> 1], _long(notice[1:]) if len(notice) > 1 else None, turn)


def _place(turn: bytes) -> int | None:
    return turn[1] >> 1 if len(turn) > 1 else None


def _long(data: bytes) -> int:
    """Read a whole zigzag varint."""
    raw = sum((byte & 127) << (7 * place) for place, byte in enumerate(data))
    return (raw >> 1) ^ -(raw & 1)
