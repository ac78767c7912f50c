"""The standings of many subjects in little memory, ready to be decided on. Pure.

A million standings do not fit as objects, and few things in them decide: under which state and notice each agreement
stands, and when a consent ends. So a record of `consent` is scanned, not parsed, and kept as one short `bytes`. What
decides at an instant is a `Form`, shared by all who stand alike. Why so: decisions/0001-forms.md.

A minor, a protected adult, and a subject under a restriction or an override keep a whole `Standing`.
"""

from collections.abc import Callable
from dataclasses import replace
from struct import Struct

from passerelle_consent.policy.scan import read_head, read_long, scan
from passerelle_consent.policy.standing import UNKNOWN_SUBJECT, Stance, Standing, State

FORMS_KEPT = 65_536
"""Forms remembered at once: some 40 MB when full. Citizens stand alike by the thousand; beyond the bound all forms are
forgotten and made again as they are met, at some microseconds each."""
ENTRIES_KEPT = 32_768
"""Entries shared at once among the subjects who said the same."""

NEVER_MS = 2**63 - 1
_ENDED_MS = 0
"""`until_ms` of a consent that is over, in a form: it is over at any instant."""
CONSENTED = frozenset({State.GIVEN, State.RENEWED})

# An entry: the first instant at which a consent ends, the revision, the number of stances; then a code for each stance;
# then, unless every consent ends at that first instant, the end of each stance.
_HEAD = Struct("<qQH")
_CODE = Struct("<I")
_END = Struct("<q")
_CODES_AT = _HEAD.size


class Form:
    """What of a standing decides at an instant. Interned: who stands alike shares one, and it hashes by identity."""

    __slots__ = ("standing",)

    def __init__(self, standing: Standing) -> None:
        """``standing`` says the same at every instant: its consents never end, or have ended."""
        self.standing = standing


class Standings:
    """Subject ref → standing, as the records of `consent` tell it. Of one thread."""

    def __init__(self, decode: Callable[[bytes], Standing]) -> None:
        """``decode`` reads any record, and refuses what is none; what the scan cannot tell is left to it."""
        self._decode = decode
        self._entries: dict[bytes, bytes | Standing] = {}
        self._shared: dict[bytes, bytes] = {}
        # By the codes; where consents are over, by these too.
        self._forms: dict[bytes | tuple[bytes, bytes], Form] = {}
        # These three grow with the agreements, states and notices that were ever said together: policy bounds them.
        self._heads: dict[bytes, bytes] = {}
        self._consents: dict[bytes, bool] = {}
        self._said: list[tuple[Stance, Stance]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, ref: object) -> bool:
        return ref in self._entries

    def put(self, ref: bytes, value: bytes) -> bool:
        """Take in a record. Returns whether it is newer than what was known; one that is older changes nothing.

        A relay that repeats itself may write an old standing after a newer one: the revision tells. Raises what
        ``decode`` raises, and then changes nothing.
        """
        entry = self._scanned(value) or self._decode(value)
        known = self._entries.get(ref)
        if known is None:
            self._entries[ref] = entry
            return True
        step = _revision(entry) - _revision(known)
        if step >= 0:
            self._entries[ref] = entry
        return step > 0

    def keep(self, ref: bytes, standing: Standing) -> None:
        """Hold a whole standing, whatever was known."""
        self._entries[ref] = standing

    def erase(self, ref: bytes, revision: int) -> bool:
        """Forget what the subject said (GDPR Art. 17), but not how far: no older record brings it back until `drop`.

        Returns whether this is newer than what was known; what is older changes nothing.
        """
        known = self._entries.get(ref)
        if known is not None and _revision(known) >= revision:
            return False
        self._entries[ref] = Standing(linked=False, revision=revision)
        return True

    def drop(self, ref: bytes) -> None:
        """Forget that there was such a subject."""
        self._entries.pop(ref, None)

    def at(self, ref: bytes, now_ms: int) -> Form | Standing:
        """Return what decides about the subject at this instant (epoch milliseconds); `UNKNOWN_SUBJECT` for none."""
        entry = self._entries.get(ref)
        if entry is None:
            return UNKNOWN_SUBJECT
        if type(entry) is not bytes:
            return entry  # type: ignore[return-value]
        until_ms, _, count = _HEAD.unpack_from(entry)
        codes = entry[_CODES_AT : _CODES_AT + 4 * count]
        which = codes if now_ms < until_ms else (codes, self._ended(entry, codes, now_ms))
        form = self._forms.get(which)
        return self._form(which) if form is None else form

    def _ended(self, entry: bytes, codes: bytes, now_ms: int) -> bytes:
        """One byte for each stance: 1 where a consent is over."""
        ends = [end for (end,) in _END.iter_unpack(entry[_CODES_AT + len(codes) :])]
        consents = [self._consents[code] for code in _split(codes)]
        if not ends:
            return bytes(consents)
        return bytes(consent and now_ms >= end for consent, end in zip(consents, ends, strict=True))

    def _form(self, which: bytes | tuple[bytes, bytes]) -> Form:
        codes, ended = which if isinstance(which, tuple) else (which, bytes(len(which)))
        stances = [self._said[code][over] for (code,), over in zip(_CODE.iter_unpack(codes), ended, strict=False)]
        if len(self._forms) >= FORMS_KEPT:
            self._forms.clear()
        form = self._forms[which] = Form(Standing(linked=True, stances={s.agreement: s for s in stances}))
        return form

    def _scanned(self, value: bytes) -> bytes | None:
        """Pack a record; None when it takes the full parser."""
        scanned = scan(value)
        if scanned is None:
            return None
        written, heads, ends = scanned
        revision = read_long(written)
        try:
            packed = [self._heads[head] for head in heads]
        except KeyError:
            return self._scanned(value) if self._learn(heads) else None
        if revision < 0:
            return None
        if any(ends):
            return self._ending(revision, packed, ends)
        entry = _HEAD.pack(NEVER_MS, revision, len(packed)) + b"".join(packed)
        if len(self._shared) >= ENTRIES_KEPT:
            self._shared.clear()
        return self._shared.setdefault(entry, entry)

    def _learn(self, heads: tuple[bytes, ...]) -> bool:
        """Give each head a code. False when one is not what it seemed."""
        for head in heads:
            if head in self._heads:
                continue
            said = read_head(head)
            if said is None:
                return False
            code = self._heads[head] = _CODE.pack(len(self._said))
            consent = self._consents[code] = said.state in CONSENTED
            stands = Stance(agreement=said.agreement, state=said.state, notice=said.notice, at_ms=0)
            self._said.append((stands, replace(stands, until_ms=_ENDED_MS) if consent else stands))
        return True

    def _ending(self, revision: int, codes: list[bytes], ends: tuple[bytes | None, ...]) -> bytes:
        """Pack what ends. Only a consent's end decides."""
        ends_ms = [
            (read_long(end) if end else NEVER_MS) if self._consents[code] else None
            for code, end in zip(codes, ends, strict=True)
        ]
        different = {end for end in ends_ms if end is not None}
        until_ms = min(different, default=NEVER_MS)
        entry = _HEAD.pack(until_ms, revision, len(codes)) + b"".join(codes)
        if len(different) <= 1:
            return entry
        return entry + b"".join(_END.pack(NEVER_MS if end is None else end) for end in ends_ms)


def _split(codes: bytes) -> list[bytes]:
    return [codes[at : at + _CODE.size] for at in range(0, len(codes), _CODE.size)]


def _revision(entry: bytes | Standing) -> int:
    return _HEAD.unpack_from(entry)[1] if isinstance(entry, bytes) else entry.revision
