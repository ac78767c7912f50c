"""The standings of many subjects in little memory, ready to be decided on. Pure.

A million standings do not fit as objects, and few things in them decide: under which state and notice each agreement
stands, who the subject is, and when that turns. So a record of `consent` is taken apart, not parsed, and kept as one
short `bytes` (`codes`). What decides at an instant about a flow's agreements is a `Form`, shared by all who stand alike
in these. Why so: decisions/0001-forms.md.

A subject under a restriction or an override is rare, and keeps a whole `Standing`.
"""

from collections.abc import Callable, Iterable

from passerelle_consent.policy.codes import Codes, said_in
from passerelle_consent.policy.scan import INSTANT_BYTES, REVISION_BYTES, Person, Said
from passerelle_consent.policy.standing import UNKNOWN_SUBJECT, Stance, Standing, State

VIEWS_KEPT = 1_024
"""Sets of agreements with their forms: one for each flow of the policies in force."""
FORMS_KEPT = 8_192
"""Forms remembered at once for a set of agreements: some 8 MB when full. They are few, since a flow has few agreements;
beyond the bound they are forgotten and made again as they are met, at some microseconds each."""
ENDS_KEPT = 8_192
"""Ends of entries whose form is known by heart at once, for a set of agreements: 1 MB when full. Citizens stand alike
by the thousand; who does not costs a microsecond more."""

NEVER_MS = 2**63 - 1
_ENDED_MS = 0
"""`until_ms` of what is over, in a form: it is over at any instant."""
CONSENTED = frozenset({State.GIVEN, State.RENEWED})

_TURNS_AT = REVISION_BYTES
_SECOND_AT = _TURNS_AT + INSTANT_BYTES


class Form:
    """What of a standing decides at an instant. Interned: who stands alike shares one, and it hashes by identity."""

    __slots__ = ("standing",)

    def __init__(self, standing: Standing) -> None:
        """``standing`` says the same at every instant: its consents never end, or have ended."""
        self.standing = standing


class _View:
    """What is seen of an entry by who asks about some agreements only."""

    __slots__ = ("by_heart", "codes", "forms", "known")

    def __init__(self) -> None:
        self.codes: frozenset[int] = frozenset()
        self.known = 0
        """Stances that had a code when ``codes`` was made."""
        self.forms: dict[tuple[frozenset[int], int, int], Form] = {}
        """By the codes about these agreements, the person's code, and how many turns have passed."""
        self.by_heart: dict[tuple[bytes, int], Form] = {}
        """By the end of an entry, and how many turns have passed."""


class Standings:
    """Subject ref (16 bytes) → standing, as the records of `consent` tell it. Of one thread."""

    def __init__(self, decode: Callable[[bytes], Standing]) -> None:
        """``decode`` reads any record, and refuses what is none; what the scan cannot tell is left to it."""
        self._decode = decode
        # By the ref as a number: 16 bytes less for each subject than as `bytes`.
        self._entries: dict[int, bytes | Standing] = {}
        self._book = Codes()
        self._views: dict[frozenset[str], _View] = {}
        self._now_ms, self._now = 0, bytes(INSTANT_BYTES)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, ref: bytes) -> bool:
        return int.from_bytes(ref) in self._entries

    def put(self, ref: bytes, value: bytes) -> bool:
        """Take in a record. Returns whether it is newer than what was known; one that is older changes nothing.

        A relay that repeats itself may write an old standing after a newer one: the revision tells. Raises what
        ``decode`` raises, and then changes nothing.
        """
        entry = self._book.encode(value) or self._decode(value)
        number = int.from_bytes(ref)
        known = self._entries.setdefault(number, entry)
        if known is entry:
            return True
        before, after = _revision(known), _revision(entry)
        if after >= before:
            self._entries[number] = entry
        return after > before

    def erase(self, ref: bytes, revision: int) -> bool:
        """Forget what the subject said (GDPR Art. 17), but not how far: no older record brings it back until `drop`.

        Returns whether this is newer than what was known; what is older changes nothing.
        """
        erased = Standing(linked=False, revision=revision)
        number = int.from_bytes(ref)
        known = self._entries.get(number)
        if known is not None and _revision(known) >= _revision(erased):
            return False
        self._entries[number] = erased
        return True

    def drop(self, ref: bytes) -> None:
        """Forget that there was such a subject."""
        self._entries.pop(int.from_bytes(ref), None)

    def at(self, ref: bytes, now_ms: int, about: frozenset[str]) -> Form | Standing:
        """Return what decides at this instant (epoch milliseconds) about these agreements, named by their ids.

        `UNKNOWN_SUBJECT` for none; a whole `Standing` says more than was asked.
        """
        entry = self._entries.get(int.from_bytes(ref))
        if type(entry) is not bytes:
            return entry or UNKNOWN_SUBJECT  # type: ignore[return-value] # mypy does not narrow by type()
        turns, passed = entry[-1], 0
        if turns:
            if now_ms != self._now_ms:
                self._now_ms, self._now = now_ms, now_ms.to_bytes(INSTANT_BYTES)
            if entry[_TURNS_AT:_SECOND_AT] <= self._now:
                passed = _passed(entry, turns, self._now)
        which = entry[_TURNS_AT + INSTANT_BYTES * turns :], passed
        view = self._views.get(about) or self._view(about)
        return view.by_heart.get(which) or self._alike(about, view, which)

    def _view(self, about: frozenset[str]) -> _View:
        if len(self._views) >= VIEWS_KEPT:
            self._views.clear()
        view = self._views[about] = _View()
        return view

    def _alike(self, about: frozenset[str], view: _View, which: tuple[bytes, int]) -> Form:
        """Return the form of all who said the same about these agreements."""
        end, passed = which
        said = self._book.said
        if view.known < len(said):
            view.codes, view.known = frozenset(c for c, s in enumerate(said) if s.agreement in about), len(said)
        key = view.codes.intersection(said_in(end)), end[0], passed
        form = view.forms.get(key) or self._form(view, key)
        if len(view.by_heart) >= ENDS_KEPT:
            view.by_heart.clear()
        view.by_heart[which] = form
        return form

    def _form(self, view: _View, key: tuple[frozenset[int], int, int]) -> Form:
        if len(view.forms) >= FORMS_KEPT:
            view.forms.clear()
        codes, person, passed = key
        said = [self._book.said[code] for code in codes]
        form = view.forms[key] = Form(_standing(self._book.persons[person], said, passed))
        return form


def _standing(person: Person, stances: Iterable[Said], passed: int) -> Standing:
    """What is said when so many turns have passed."""
    said = (
        Stance(
            agreement=s.agreement,
            state=s.state,
            notice=s.notice,
            at_ms=0,
            until_ms=_ENDED_MS if s.turn is not None and s.turn < passed else None,
        )
        for s in stances
    )
    return Standing(
        linked=True,
        stances={s.agreement: s for s in said},
        minor_until_ms=NEVER_MS if person.turn is not None and person.turn >= passed else None,
        protection=person.protection,
    )


def _passed(entry: bytes, turns: int, now: bytes) -> int:
    """How many turns have come: they ascend, and bytes compare as the instants do."""
    passed, at = 0, _TURNS_AT
    while passed < turns and entry[at : at + INSTANT_BYTES] <= now:
        passed, at = passed + 1, at + INSTANT_BYTES
    return passed


def _revision(entry: bytes | Standing) -> bytes:
    return entry[:REVISION_BYTES] if isinstance(entry, bytes) else entry.revision.to_bytes(REVISION_BYTES)
