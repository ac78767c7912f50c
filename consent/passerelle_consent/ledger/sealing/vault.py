"""Which key commits an entry to its subject. Pure: the stored keys come in, what is to be stored comes out.

Every entry that is about a known subject is committed under that subject's key, made when it first occurs. A decision
about a subject that nobody has shown to exist gets a key that is thrown away at once. An `erased` entry is the last
that its subject's key commits.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from passerelle_consent.ledger.log.commitments import (
    DRAWN_BYTES,
    KEY_BYTES,
    Random,
    SubjectKey,
    commit,
)
from passerelle_consent.ledger.log.entries import EntryType
from passerelle_consent.ledger.log.masters import Masters
from passerelle_consent.ledger.sealing.sequence import Draft

KEPT_MAX = 50_000
"""Unwrapped keys that are kept for the batches to come: some 170 MB, and a day's persons of a large town."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WrappedKey:
    """A subject key as it is stored."""

    master: str
    """Id of the master key that wraps it."""
    wrapped: bytes

    def open(self, subject: bytes, masters: Masters) -> SubjectKey:
        """Unwrap it. Raises `Unclear` when its master is not there, `Invalid` when it does not open."""
        return SubjectKey.of(self.secret(subject, masters))

    def secret(self, subject: bytes, masters: Masters) -> bytes:
        """Unwrap it, and derive nothing. Raises as `open`."""
        return masters.opening(self.master).unwrap(subject, self.wrapped)


class SealedEntry(NamedTuple):
    """An entry ready to be stored. Made for every entry: a plain tuple."""

    ident: bytes
    body: bytes
    """Canonical bytes: the leaf."""
    sealed: bytes | None
    """Private part, or None where nobody could ever open it."""
    handle: bytes | None
    """Its subject's, with the private part."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyChanges:
    """What a batch of entries changes about the stored keys."""

    destroyed: frozenset[bytes]
    """Subjects whose stored key must go. A subject can be in ``made`` too: erased, then linked anew."""
    forgotten: frozenset[bytes]
    """Handles of the keys that go: nothing must be listed under them."""
    made: Mapping[bytes, WrappedKey]


@dataclass(frozen=True, kw_only=True, slots=True)
class NewKeys:
    """`KeyChanges` before they can be stored: the keys that were made are as they were drawn."""

    destroyed: frozenset[bytes]
    forgotten: frozenset[bytes]
    made: Mapping[bytes, bytes] = field(repr=False)

    def wrapped(self, masters: Masters, random: Random) -> KeyChanges:
        """Wrap them by the master that is current, if there are any."""
        made = {}
        if self.made:
            master = masters.current()
            for subject, secret in self.made.items():
                made[subject] = WrappedKey(master=master.id, wrapped=master.wrap(subject, secret, random))
        return KeyChanges(destroyed=self.destroyed, forgotten=self.forgotten, made=made)


@dataclass(kw_only=True, slots=True)
class Vault:
    """The keys of subjects that occurred lately."""

    random: Random
    keys: dict[bytes, SubjectKey] = field(default_factory=dict)
    _made: set[bytes] = field(default_factory=set)
    _destroyed: set[bytes] = field(default_factory=set)
    _forgotten: set[bytes] = field(default_factory=set)

    def unknown(self, subjects: Iterable[bytes]) -> set[bytes]:
        """Those whose keys must be looked up: `open` what is stored of them before anything is sealed."""
        return set(subjects).difference(self.keys)

    def open(self, secrets: Mapping[bytes, bytes]) -> None:
        """Take in what the store has, unwrapped."""
        for subject, secret in secrets.items():
            self.keys[subject] = SubjectKey.of(secret)

    def key_of(self, subject: bytes | None, *, proven: bool) -> SubjectKey | None:
        """Return the subject's key, a new one if it is known to exist; None when it stays unknown."""
        if subject is None:
            return None
        key = self.keys.get(subject)
        if key is None and proven:
            key = self.keys[subject] = SubjectKey.of(self.random(KEY_BYTES))
            self._made.add(subject)
        return key

    def seal(self, drafts: Iterable[Draft]) -> list[SealedEntry]:
        """Finish drafts, in order. Raises `Invalid` for one that the entry format does not take."""
        return [self._seal(draft) for draft in drafts]

    def changes(self) -> NewKeys:
        """Return what changed since the last call."""
        made = {subject: self.keys[subject].secret for subject in self._made}
        changes = NewKeys(made=made, destroyed=frozenset(self._destroyed), forgotten=frozenset(self._forgotten))
        for some in (self._made, self._destroyed, self._forgotten):
            some.clear()
        return changes

    def trim(self) -> None:
        """Let go of the oldest beyond `KEPT_MAX`. All that `changes` returned is stored by now, or among the newest."""
        for subject in list(islice(self.keys, max(0, len(self.keys) - KEPT_MAX))):
            del self.keys[subject]

    def _seal(self, draft: Draft) -> SealedEntry:
        key = self.key_of(draft.subject, proven=True)
        committed = commit(key, draft.ident, draft.private, self.random(DRAWN_BYTES)) if key else None
        body = draft.entry(committed).encode()
        if draft.type is EntryType.ERASED and draft.subject is not None:
            self._destroy(draft.subject)
        if committed is None:
            return SealedEntry(ident=draft.ident, body=body, sealed=None, handle=None)
        return SealedEntry(ident=draft.ident, body=body, sealed=committed.sealed, handle=committed.handle)

    def _destroy(self, subject: bytes) -> None:
        key = self.keys.pop(subject, None)
        if key is not None:
            self._forgotten.add(key.handle)
        self._made.discard(subject)
        self._destroyed.add(subject)
