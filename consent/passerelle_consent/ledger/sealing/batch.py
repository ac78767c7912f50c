"""What one step takes in, and what one transaction of the ledger's database writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from passerelle_consent.ledger.sealing.sequence import Ends, JournalRecord
from passerelle_consent.ledger.sealing.vault import KeyChanges, SealedEntry
from passerelle_schemas.faults import Fault


class Unreadable(Fault):
    """A record of the bus's own topics cannot be read. The ledger stops: it must not leave a decision out."""


class SealingFault(Fault):
    """The program that seals is wrong. Trying again would not help."""


class Unread(NamedTuple):
    """A record of `decisions`, and where it lies."""

    where: str
    value: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """What was read, in the order in which it goes in."""

    now: Sequence[JournalRecord]
    decisions: Sequence[Unread]
    due: Sequence[JournalRecord]
    """What waited for decisions that are in by now (`sequence`)."""
    positions: Mapping[str, Ends]
    """Topic → where to read on."""
    full: bool
    """Whether a bound ended it, so that there is more at once."""

    @property
    def journal(self) -> bool:
        """Whether anything of it is the journal's."""
        return bool(self.now or self.due)


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Entries on their tree, and all that changes with them."""

    start: int
    """Size of the tree before it."""
    entries: Sequence[SealedEntry] = ()
    decisions: int = 0
    """How many of the entries are decisions."""
    tiles: Mapping[tuple[int, int], bytes] = field(default_factory=dict)
    """Those that are new or have grown, by level and index."""
    root: bytes = b""
    """Of the tree with them; empty when there are none."""
    keys: KeyChanges
    positions: Mapping[str, Ends]

    @property
    def size(self) -> int:
        """Size of the tree with them."""
        return self.start + len(self.entries)
