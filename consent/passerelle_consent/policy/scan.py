"""Take a record of `consent` apart without parsing it. Pure.

`passerelle_consent.wire` writes it so that this is quick: first what is each citizen's own, at a fixed width.

    version · revision · turns … · said at … · what was said (Avro) · number of turns · number of stances
    1         4          6 each    6 each                             2                 2

A *turn* is an instant at which a standing changes by itself: a consent ends, a minor comes of age, an override is over.
Turns ascend, and what was said names them by their place. So all from what was said to the end is one slice that
citizens who stand alike share, and what counts of the turns at an instant is only how many have passed.

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
TURNS_MAX = 64
"""Turns that are scanned: Avro writes so many places in one byte."""
STANCES_MAX = 63
"""Stances of one subject that are scanned: Avro counts so many in one byte."""


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

_PERSON = re.compile(rb"\x01(" + _PROTECTED + rb")(" + _TURN + rb")\x00\x00")
"""Linked, the protection, the turn of majority, no restriction, no override."""
_STANCE = re.compile(rb"(" + _NAME + _STATE + rb"(?:" + _NOTICE + rb")(?:" + _TURN + rb"))[\x00\x02\x04]")
"""What decides of a stance; then who said it."""
_PARTS = re.compile(rb"(" + _NAME + rb")(" + _STATE + rb")(" + _NOTICE + rb")(" + _TURN + rb")")
_AFTER = 1 + 2 * COUNT_BYTES
"""Bytes after the stances: their end, and the counts."""


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


def scan(shared: bytes) -> list[bytes] | None:
    """Split the shared slice into the parts that `read` reads, the person's first; None when it is not usual."""
    person, end = _PERSON.match(shared), len(shared) - _AFTER
    if person is None or end < person.end() or shared[end] or shared[end + 1] or shared[end + 3]:
        return None
    begin, count = person.end(), shared[-1]
    stances = _STANCE.findall(shared, begin + 1, end)
    # A search skips what does not match: whatever it skipped is missing here.
    size = 1 + len(stances) + sum(map(len, stances)) if count else 0
    if len(stances) != count or count > STANCES_MAX or end - begin != size or shared[begin] != 2 * count:
        return None
    return [person.group(), *stances]


def read(part: bytes) -> Person | Said | None:
    """Read a part; None when its name is not as long as it says."""
    person = _PERSON.fullmatch(part)
    if person is not None:
        protection, turn = person.groups()
        return Person(_PROTECTIONS[protection[1] >> 1] if len(protection) > 1 else None, _place(turn))
    found = _PARTS.fullmatch(part)
    if found is None or found[1][0] >> 1 != len(found[1]) - 1:
        return None
    name, state, notice, turn = found.groups()
    return Said(name[1:].decode(), _STATES[state[0] >> 1], _long(notice[1:]) if len(notice) > 1 else None, _place(turn))


def _place(turn: bytes) -> int | None:
    return turn[1] >> 1 if len(turn) > 1 else None


def _long(data: bytes) -> int:
    """Read a whole zigzag varint."""
    raw = sum((byte & 127) << (7 * place) for place, byte in enumerate(data))
    return (raw >> 1) ^ -(raw & 1)
