"""Scan a record of `consent` for what decides, without parsing it. Pure.

`passerelle_consent.wire` defines the record; here stands what it looks like nearly always (Avro 1.12, "Binary
encoding"): a linked adult without protection, no restriction, no override, and at most `STANCES_MAX` stances. The full
parser takes some 10 µs a record and a stance, this about 1: a worker that takes over a million citizens is back in
seconds. Whatever does not look like this is left to the full parser, also when it is no standing at all; a test holds
the two together.
"""

import re
from functools import cache
from typing import NamedTuple

from passerelle_consent.policy.standing import State

STANCES_MAX = 32
"""Stances of one subject that are scanned: beyond, the patterns get long and the subjects few."""

_STATES = tuple(State)
# A long of 9 bytes at most: the full parser knows what to do with more.
_LONG = rb"[\x80-\xff]{0,8}[\x00-\x7f]"
_HEAD = rb"[\x02-\x7e][a-z][a-z0-9-]*[\x00-\x16](?:\x00|\x02" + _LONG + rb")"
"""The length and name of an agreement, the state, the notice: what decides of a stance."""
_STANCE = rb"(" + _HEAD + rb")" + _LONG + rb"(?:\x00|\x02(" + _LONG + rb"))[\x00\x02\x04]"
"""That, the instant it was said, the instant it ends, and who said it."""

Scanned = tuple[bytes, tuple[bytes, ...], tuple[bytes | None, ...]]
"""As written: the revision, the head of each stance, the end of each stance."""


class Said(NamedTuple):
    """What of a stance decides, its end aside."""

    agreement: str
    state: State
    notice: int | None


def scan(value: bytes) -> Scanned | None:
    """Find the parts of a usual record; None when it is not one."""
    try:
        at = 2
        while value[at] > 0x7F:  # noqa: PLR2004 - the bytes of a long but its last have the high bit
            at += 1
        count = value[at + 1]
    except IndexError:
        return None
    if count & 1 or count > 2 * STANCES_MAX:
        return None
    match = _usual(count >> 1).fullmatch(value)
    if match is None:
        return None
    found = match.groups()
    return found[0], found[1::2], found[2::2]


def read_head(head: bytes) -> Said | None:
    """Read the head of a stance; None when its name is not as long as it says, or no state has that number."""
    end = 1 + (head[0] >> 1)
    if head[0] & 1 or end >= len(head) or head[end] & 1 or head[end] > 2 * len(_STATES) - 2:
        return None
    notice = None if head[end + 1] == 0 else read_long(head[end + 2 :])
    return Said(head[1:end].decode(), _STATES[head[end] >> 1], notice)


def read_long(data: bytes) -> int:
    """Read a whole zig-zag varint."""
    if len(data) == 6:  # noqa: PLR2004 - every instant from 2004 to 2527: unrolled, it takes a third of the time
        a, b, c, d, e, f = data
        raw = a & 127 | (b & 127) << 7 | (c & 127) << 14 | (d & 127) << 21 | (e & 127) << 28 | f << 35
    elif len(data) == 1:
        raw = data[0]
    else:
        raw = 0
        for place, byte in enumerate(data):
            raw |= (byte & 127) << (7 * place)
    return (raw >> 1) ^ -(raw & 1)


@cache
def _usual(count: int) -> re.Pattern[bytes]:
    """A record with so many stances; the groups are the revision, then the head and the end of each stance."""
    stances = re.escape(bytes([2 * count])) + _STANCE * count + rb"\x00" if count else rb"\x00"
    return re.compile(rb"\x01\x01(" + _LONG + rb")" + stances + rb"\x00" * 4, re.DOTALL)
