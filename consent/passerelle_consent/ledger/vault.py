"""Which key commits an entry to its subject. Pure: the stored keys come in, what is to be stored comes out.

Every draft that is about a known subject is committed under that subject's key, made when it first occurs. A decision
about a subject that nobody has shown to exist gets a key that is thrown away at once. An `erased` entry is the last
that its subject's key commits.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from passerelle_consent.ledger.commitments import (
    KEY_BYTES,
    Committed,
    MasterKey,
    Random,
    SubjectKey,
    body_commit,
    commit,
    subject_commit,
)
from passerelle_consent.ledger.entries import EntryType
from passerelle_consent.ledger.sequence import Draft


@dataclass(frozen=True, kw_only=True, slots=True)
class WrappedKey:
    """A subject key as it is stored."""

    master: str
    """Id of the master key that wraps it."""
    wrapped: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class SealedEntry:
    """An entry ready to be stored."""

    ident: bytes
    body: bytes
    """Canonical bytes: the leaf."""
    sealed: bytes | None
    """Private part, or None where nobody could ever open it."""
    handle: bytes | None = None
    """Its subject's, with the private part."""


@dataclass(kw_only=True, slots=True)
class Vault:
    """The subject keys of one batch of entries."""

    master: MasterKey
    random: Random
    keys: dict[bytes, SubjectKey] = field(default_factory=dict)
    made: set[bytes] = field(default_factory=set)
    """Subjects whose key is new in this batch."""
    destroyed: set[bytes] = field(default_factory=set)
    """Subjects whose stored key must go. A subject can be in both: erased, then linked anew."""
    forgotten: set[bytes] = field(default_factory=set)
    """Handles of the keys that go: nothing must be listed under them."""

    def open(self, stored: Mapping[bytes, WrappedKey]) -> None:
        """Unwrap what the store has. Raises `Invalid`."""
        for subject, key in stored.items():
            self.keys[subject] = SubjectKey.of(self.master.unwrap(subject, key.wrapped))

    def seal(self, drafts: Iterable[Draft]) -> list[SealedEntry]:
        """Finish the drafts, in order. Raises `Invalid` for one that the entry format does not take."""
        return [self._seal(draft) for draft in drafts]

    def to_store(self) -> dict[bytes, WrappedKey]:
        """Return the new keys, wrapped."""
        return {
            subject: WrappedKey(
                master=self.master.id, wrapped=self.master.wrap(subject, self.keys[subject].secret, self.random)
            )
            for subject in self.made
        }

    def _seal(self, draft: Draft) -> SealedEntry:
        committed = self._commit(draft) if draft.commits else None
        entry = draft.entry(committed)
        if draft.type is EntryType.ERASED and draft.subject is not None:
            self._destroy(draft.subject)
        sealed = committed.sealed if committed and committed.sealed else None
        listed = committed.handle if committed and sealed else None
        return SealedEntry(ident=draft.ident, body=entry.encode(), sealed=sealed, handle=listed)

    def _commit(self, draft: Draft) -> Committed:
        key = self._key_of(draft)
        if key is not None:
            return commit(key, draft.ident, draft.private, self.random)
        thrown_away = self.random(2 * KEY_BYTES)
        return Committed(
            subject_commit=subject_commit(thrown_away[:KEY_BYTES], draft.ident),
            body_commit=body_commit(thrown_away[KEY_BYTES:], draft.private),
            sealed=b"",
        )

    def _key_of(self, draft: Draft) -> SubjectKey | None:
        if draft.subject is None:
            return None
        key = self.keys.get(draft.subject)
        if key is None and draft.proven:
            key = self.keys[draft.subject] = SubjectKey.of(self.random(KEY_BYTES))
            self.made.add(draft.subject)
        return key

    def _destroy(self, subject: bytes) -> None:
        key = self.keys.pop(subject, None)
        if key is not None:
            self.forgotten.add(key.handle)
        self.made.discard(subject)
        self.destroyed.add(subject)
