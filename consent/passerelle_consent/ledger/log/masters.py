"""The master keys that a ledger has: one wraps, and every one opens what it has wrapped. So that it can be changed."""

from dataclasses import dataclass
from typing import Protocol

from passerelle_consent.ledger.faults import Unclear
from passerelle_consent.ledger.log.commitments import MasterKey


class Masters(Protocol):
    """The masters of a ledger, as of now: another process may have made a new one current."""

    def current(self) -> MasterKey:
        """Return the one that wraps from now on. Raises `Fault`."""

    def opening(self, ident: str) -> MasterKey:
        """Return the one that has wrapped a key. Raises `Unclear` when it is not there."""


@dataclass(frozen=True, slots=True)
class FixedMasters:
    """Masters that stay as they are."""

    wrapping: MasterKey
    before: tuple[MasterKey, ...] = ()

    def current(self) -> MasterKey:
        """Return the one that wraps."""
        return self.wrapping

    def opening(self, ident: str) -> MasterKey:
        """Return the one of this id. Raises `Unclear`."""
        for master in (self.wrapping, *self.before):
            if master.id == ident:
                return master
        raise missing(ident)


def missing(ident: str) -> Unclear:
    """Say that a subject's key cannot be opened here, and by what it could be."""
    hint = "bring its file back from a backup of the home's keys: keys/ledger/master.<id>.key"
    return Unclear(f"a key is wrapped by another master key ({ident})", hint=hint)
