"""Standings as short entries: two bytes for a stance, one for what else decides about the person. Pure.

    revision · turns … · person's code · stances' codes … · number of turns
    4          6 each    1               2 each             1

Revision and turns stand as in the record. From the person's code on is the entry's *end*, which citizens who stand
alike share.
"""

from operator import lt
from struct import Struct

from passerelle_consent.policy.scan import (
    INSTANT_BYTES,
    MARK,
    OWN_AT,
    REVISION_BYTES,
    STANCES_MAX,
    TAIL_BYTES,
    TURNS_MAX,
    Counts,
    Person,
    Said,
    read_head,
    read_part,
    read_tail,
)

CODES_MAX = 65_536
"""Stances with a code of two bytes. They grow with the agreements, states and notices that were ever said; a standing
with one beyond is kept whole. Persons are fewer than a byte has values: a protection or none, a turn or none."""
_VERSION = 1

_UNPACK = [Struct(f"<{count}H").unpack_from for count in range(STANCES_MAX + 1)]


def said_in(end: bytes) -> tuple[int, ...]:
    """Return the codes of the stances in the end of an entry."""
    return _UNPACK[(len(end) - 2) // 2](end, 1)


class _Shape:
    """Where things stand in a record with these counts, and what is known of such records. At most 65 × 64."""

    __slots__ = ("code_of", "counts", "end", "heads", "instants", "own_end", "parts", "said_at")

    def __init__(self, counts: Counts, parts: dict[bytes, bytes]) -> None:
        self.counts = counts
        self.own_end = OWN_AT + INSTANT_BYTES * counts.turns
        self.said_at = self.own_end + INSTANT_BYTES * counts.stances
        self.instants = Struct(f"{INSTANT_BYTES}s" * counts.turns).unpack_from
        self.end = bytes([counts.turns])
        self.heads: dict[bytes, bytes] = {}
        self.parts = parts
        self.code_of = parts.__getitem__


class Codes:
    """What was ever said, by code. Grows only."""

    def __init__(self) -> None:
        self.persons: list[Person] = []
        self.said: list[Said] = []
        self._person_codes: dict[Person, bytes] = {}
        self._said_codes: dict[Said, bytes] = {}
        self._agreements: dict[bytes, str] = {}
        self._agreement_of = self._agreements.__getitem__
        self._shapes: dict[bytes, _Shape] = {}
        # Part → code, for each number of turns: a part that names a turn beyond is none.
        self._parts: list[dict[bytes, bytes]] = [{} for _ in range(TURNS_MAX + 1)]

    def encode(self, value: bytes) -> bytes | None:
        """Return the entry of a record of `consent`; None when only the full parser can tell what it is."""
        tail = value[-TAIL_BYTES:]
        shape = self._shapes.get(tail) or self._shape(tail)
        if shape is None or value[0] != _VERSION:
            return None
        parts = value[shape.said_at : -TAIL_BYTES].split(MARK)
        head = parts.pop(0)
        try:
            person, said = shape.heads[head], [*map(shape.code_of, parts)]
        except KeyError:
            return self.encode(value) if self._learn(shape, head, parts) else None
        turns, stances = shape.counts
        # The parser has the last of two stances about one agreement; a form, which has no order, could not tell.
        if len(said) != stances or len({*map(self._agreement_of, said)}) != stances:
            return None
        own = value[1 : shape.own_end]
        if turns > 1:
            instants = shape.instants(own, REVISION_BYTES)
            if not all(map(lt, instants, instants[1:])):  # bytes compare as the instants do
                return None
        return b"".join((own, person, *said, shape.end))

    def _shape(self, tail: bytes) -> _Shape | None:
        counts = read_tail(tail)
        if counts is None:
            return None
        shape = self._shapes[tail] = _Shape(counts, self._parts[counts.turns])
        return shape

    def _learn(self, shape: _Shape, head: bytes, parts: list[bytes]) -> bool:
        """Give codes to what has none yet. False when something is not what it seemed, or no code is left."""
        person = read_head(head, shape.counts)
        if person is None:
            return False
        if person not in self._person_codes:
            self._person_codes[person] = bytes([len(self.persons)])
            self.persons.append(person)
        shape.heads[head] = self._person_codes[person]
        return all(part in shape.parts or self._learn_part(shape, part) for part in parts)

    def _learn_part(self, shape: _Shape, part: bytes) -> bool:
        said = read_part(part, shape.counts.turns)
        if said is None:
            return False
        if said not in self._said_codes:
            if len(self.said) >= CODES_MAX:
                return False
            code = self._said_codes[said] = len(self.said).to_bytes(2, "little")
            self.said.append(said)
            self._agreements[code] = said.agreement
        shape.parts[part] = self._said_codes[said]
        return True
