"""Seals what was taken and puts it on the tree, in memory: what stays between one step and the next. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from passerelle_consent.ledger.log import tree
from passerelle_consent.ledger.log.commitments import Random, in_blocks
from passerelle_consent.ledger.log.tiles import RightEdge
from passerelle_consent.ledger.sealing import decided
from passerelle_consent.ledger.sealing.batch import Unread, Unreadable
from passerelle_consent.ledger.sealing.sequence import Draft
from passerelle_consent.ledger.sealing.vault import NewKeys, SealedEntry, Vault
from passerelle_consent.wire import DecisionRows, read_decisions
from passerelle_schemas.faults import Fault


@dataclass(frozen=True, kw_only=True, slots=True)
class Sealed:
    """Entries on their tree."""

    start: int
    """Size of the tree before them."""
    entries: Sequence[SealedEntry]
    tiles: Mapping[tuple[int, int], bytes]
    """Those that are new or have grown, by level and index."""
    root: bytes
    """Of the tree with them."""
    keys: NewKeys

    def __reduce__(self) -> tuple[Callable[..., "Sealed"], tuple[Any, ...]]:
        """Pickle by columns: entry by entry it would take as long as sealing them."""
        return _sealed, (self.start, tuple(zip(*self.entries, strict=True)), self.tiles, self.root, self.keys)


def _sealed(start: int, columns: Any, tiles: Any, root: bytes, keys: NewKeys) -> Sealed:
    entries = [*map(SealedEntry._make, zip(*columns, strict=True))]
    return Sealed(start=start, entries=entries, tiles=tiles, root=root, keys=keys)


class Sealing(Protocol):
    """What seals for an integrator: in its own process, or in another."""

    def start(self, edge: RightEdge) -> None:
        """Begin at this tree, with no key. Before all else, and again when what was sealed was not committed."""

    def take(self, decisions: Sequence[Unread], subjects: set[bytes]) -> set[bytes]:
        """Take in what `seal` will put between its drafts, and return those whose keys must be looked up for it.

        ``subjects``: those of the drafts. Raises `Unreadable`.
        """

    def seal(self, before: Sequence[Draft], after: Sequence[Draft], secrets: Mapping[bytes, bytes]) -> Sealed:
        """Seal all of it, once. ``secrets``: the keys that were found. Raises `Invalid` for what no entry can say."""

    def trim(self) -> None:
        """Let go of the keys that were used longest ago. All that was sealed but the last is stored by now."""

    def close(self) -> None:
        """Forget all keys, until `start`."""


class Sealer:
    """`Sealing`, in this process."""

    def __init__(self, random: Random) -> None:
        self._random = in_blocks(random)
        self._vault = Vault(random=self._random)
        self._edge = RightEdge()
        self._read: list[DecisionRows] = []

    def start(self, edge: RightEdge) -> None:
        """As `Sealing`."""
        self._edge, self._vault, self._read = edge, Vault(random=self._random), []

    def take(self, decisions: Sequence[Unread], subjects: set[bytes]) -> set[bytes]:
        """As `Sealing`."""
        self._read = [*map(_rows, decisions)]
        return self._vault.unknown(subjects.union(*map(decided.subjects_of, self._read)))

    def seal(self, before: Sequence[Draft], after: Sequence[Draft], secrets: Mapping[bytes, bytes]) -> Sealed:
        """As `Sealing`."""
        taken, self._read = self._read, []
        self._vault.open(secrets)
        entries = self._vault.seal(before)
        for read in taken:
            entries += decided.seal_decisions(read, self._vault)
        entries += self._vault.seal(after)
        return Sealed(
            start=self._edge.size,
            entries=entries,
            tiles=self._edge.append(tree.leaf_hashes(entry.body for entry in entries)),
            root=self._edge.root(),
            keys=self._vault.changes(),
        )

    def trim(self) -> None:
        """As `Sealing`."""
        self._vault.trim()

    def close(self) -> None:
        """As `Sealing`."""
        self._vault, self._read = Vault(random=self._random), []


def _rows(unread: Unread) -> DecisionRows:
    try:
        return read_decisions(unread.value)
    except Fault as fault:
        raise Unreadable(fault.what, where=unread.where) from None
