"""Standings as short entries: what decides of a packed one, and two bytes for its agreements. Pure.

    turns · revision · turns … · said … · marks … · person · agreements' code
    1       4          6 each    1 each   1 each    1        2

All but the code is as `packed` has it, which tells what the bytes mean. From what was said on is the entry's *end*,
which citizens who stand alike share. Citizens who were asked the same share a code; beyond `SETS_MAX` such sets, an
agreement has a code of its own, and these stand before `ONE_BY_ONE`.
"""

from operator import lt
from struct import Struct

from passerelle_consent.policy.packed import (
    HEAD_BYTES,
    INSTANT_BYTES,
    REVISION_BYTES,
    SAID_BYTES,
    STANCES_MAX,
    TURNS_AT,
    TURNS_MAX,
    VERSION,
    Named,
    mark_bytes,
    named_in,
)

SETS_MAX = 8_192
"""Sets of agreements with a code: 4 MB with ten agreements in each, and some 60 MB with two hundred."""
NAMES_MAX = 65_536
"""Agreements with a code of their own; a standing with one beyond is kept whole."""
CODE_BYTES = 2
ONE_BY_ONE = b"\xff\xff"
ENTRY_TURNS_AT = 1 + REVISION_BYTES
_COUNT_AT = HEAD_BYTES - 1
"""Where an entry begins in a record: with the number of turns."""


class _Shape:
    """Where things stand in a record with these counts, and what is known of such records. At most 256 × 65."""

    __slots__ = ("codes", "entry", "instants", "marks", "names", "names_at", "said", "said_marks", "stances", "turns")

    def __init__(self, stances: int, turns: int, codes: dict[bytes, bytes]) -> None:
        self.stances, self.turns = stances, turns
        said_at = TURNS_AT + INSTANT_BYTES * turns
        marks_at = said_at + stances
        until = marks_at + stances + 1
        self.names_at = until + INSTANT_BYTES * stances
        self.said, self.said_marks = slice(said_at, marks_at), slice(marks_at, until)
        self.names, self.entry = slice(self.names_at, None), slice(_COUNT_AT, until)
        self.marks = mark_bytes(turns)
        self.instants = Struct(f"{INSTANT_BYTES}s" * turns).unpack_from
        self.codes = codes


class Codes:
    """Which agreements were ever said something about, by code. Grows only."""

    def __init__(self) -> None:
        self._sets: list[tuple[Named, ...]] = []
        self._names: list[Named] = []
        self._name_codes: dict[Named, bytes] = {}
        self._shapes: dict[bytes, _Shape] = {}
        # The agreements as they stand in a record → code, for each number of stances.
        self._codes: list[dict[bytes, bytes]] = [{} for _ in range(STANCES_MAX + 1)]

    def encode(self, value: bytes) -> bytes | None:
        """Return the entry of a record of `consent`; None when it is none that was packed, or no code is left."""
        head = value[:HEAD_BYTES]
        shape = self._shapes.get(head) or self._shape(head)
        if shape is None or len(value) < shape.names_at:
            return None
        # What is left when the bytes that may stand there are stripped may not.
        if value[shape.said].lstrip(SAID_BYTES) or value[shape.said_marks].lstrip(shape.marks):
            return None
        if shape.turns > 1:
            turns = shape.instants(value, TURNS_AT)
            if not all(map(lt, turns, turns[1:])):  # bytes compare as the instants do
                return None
        names = value[shape.names]
        code = shape.codes.get(names) or self._code(shape, names)
        return None if code is None else value[shape.entry] + code

    def agreements(self, end: bytes) -> tuple[Named, ...]:
        """Return the agreements of the end of an entry, as its stances are ordered."""
        code = end[-CODE_BYTES:]
        if code != ONE_BY_ONE:
            return self._sets[int.from_bytes(code)]
        stances = (len(end) - 1 - CODE_BYTES) // (2 + CODE_BYTES)
        codes = end[2 * stances + 1 : -CODE_BYTES]
        return tuple(
            self._names[int.from_bytes(codes[at : at + CODE_BYTES])] for at in range(0, len(codes), CODE_BYTES)
        )

    def _shape(self, head: bytes) -> _Shape | None:
        if len(head) < HEAD_BYTES or head[0] != VERSION or head[2] > TURNS_MAX:
            return None
        shape = self._shapes[head] = _Shape(head[1], head[2], self._codes[head[1]])
        return shape

    def _code(self, shape: _Shape, names: bytes) -> bytes | None:
        """Give a code to agreements that have none yet."""
        try:
            found = named_in(names, shape.stances)
        except ValueError:
            return None
        if len(self._sets) >= SETS_MAX:
            return self._one_by_one(found)
        code = shape.codes[names] = len(self._sets).to_bytes(CODE_BYTES)
        self._sets.append(found)
        return code

    def _one_by_one(self, names: tuple[Named, ...]) -> bytes | None:
        for name in names:
            if name not in self._name_codes:
                if len(self._names) >= NAMES_MAX:
                    return None
                self._name_codes[name] = len(self._names).to_bytes(CODE_BYTES)
                self._names.append(name)
        return b"".join((*(self._name_codes[name] for name in names), ONE_BY_ONE))
