"""Short codes for what citizens say: two bytes for a stance, one for what else decides about the person. Pure.

The end of an entry of `standings` is the person's code, those of the stances, and the number of turns.
"""

from struct import Struct

from passerelle_consent.policy.scan import STANCES_MAX, TURNS_MAX, Person, Said, read

CODES_MAX = 65_536
"""Stances with a code of two bytes. They grow with the agreements, states and notices that were ever said; a standing
with one beyond is kept whole."""

_STRUCTS = [Struct(f"<{count}H") for count in range(STANCES_MAX + 1)]
_PACK, _UNPACK = [s.pack for s in _STRUCTS], [s.unpack_from for s in _STRUCTS]


def said_in(end: bytes) -> tuple[int, ...]:
    """Return the codes of the stances in the end of an entry."""
    return _UNPACK[(len(end) - 2) // 2](end, 1)


class Codes:
    """What was ever said, by code. Grows only."""

    def __init__(self) -> None:
        self.persons: list[Person] = []
        self.said: list[Said] = []
        self._numbers: dict[Person | Said, int] = {}
        # Part → code, for each number of turns: a part that names a turn beyond is none.
        self._known: list[dict[bytes, int]] = [{} for _ in range(TURNS_MAX + 1)]

    def encode(self, parts: list[bytes], turns: int) -> bytes | None:
        """Return the end of an entry; None when a part is not what it seemed, or an agreement comes twice."""
        known = self._known[turns]
        try:
            person, *said = [known[part] for part in parts]
        except KeyError:
            return self.encode(parts, turns) if all(self._number(p, turns) for p in parts) else None
        if len({self.said[code].agreement for code in said}) < len(said):
            return None
        return b"%c%b%c" % (person, _PACK[len(said)](*said), turns)

    def _number(self, part: bytes, turns: int) -> bool:
        """Give the part a code. False when it is not what it seemed, or names a turn that there is not."""
        meant = read(part)
        if meant is None or (meant.turn is not None and meant.turn >= turns):
            return False
        if meant not in self._numbers:
            if len(self.said) >= CODES_MAX:
                return False
            self._numbers[meant] = len(self.persons if isinstance(meant, Person) else self.said)
            if isinstance(meant, Person):
                self.persons.append(meant)
            else:
                self.said.append(meant)
        self._known[turns][part] = self._numbers[meant]
        return True
