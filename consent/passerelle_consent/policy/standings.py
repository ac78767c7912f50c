"""The standings of many subjects in little memory, ready to be decided on. Pure.

A million standings do not fit as objects, and few things in them decide: under which state and notice each agreement
stands, who the subject is, and when that turns. So a record of `consent` is cut, not parsed, and kept as one
short `bytes` (`codes`). What decides at an instant about a flow's agreements is a `Form`, shared by all who stand alike
in these. Why so: decisions/0001-forms.md.

A subject under a restriction or an override is rare, and keeps a whole `Standing`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from passerelle_consent.policy.codes import CODE_BYTES, ENTRY_TURNS_AT, ONE_BY_ONE, Codes
from passerelle_consent.policy.packed import INSTANT_BYTES, REVISION_BYTES, Named, pack, person_in, said_in
from passerelle_consent.policy.standing import UNKNOWN_SUBJECT, Stance, Standing, State

VIEWS_KEPT = 1_024
"""Sets of agreements with their forms: one for each flow of the policies in force."""
FORMS_KEPT = 8_192
"""Forms remembered at once for a set of agreements: some 8 MB when full. They are few, since a flow has few agreements;
beyond the bound they are forgotten and made again as they are met, at some microseconds each."""
ENDS_KEPT = 8_192
"""Ends of entries whose form is known by heart at once, for a set of agreements: 1 MB when full. Citizens stand alike
by the thousand; who does not costs a microsecond more."""

LOOKS_KEPT = 8_192
"""Sets of agreements of which it is known where those that are asked about stand: 3 MB when full."""

NEVER_MS = 2**63 - 1
_number = int.from_bytes
_ENDED_MS = 0
"""`until_ms` of what is over, in a form: it is over at any instant."""
CONSENTED = frozenset({State.GIVEN, State.RENEWED})

_TURNS_AT = ENTRY_TURNS_AT
_SECOND_AT = _TURNS_AT + INSTANT_BYTES


class Form:
    """What of a standing decides at an instant. Interned: who stands alike shares one, and it hashes by identity."""

    __slots__ = ("standing",)

    def __init__(self, standing: Standing) -> None:
        """``standing`` says the same at every instant: its consents never end, or have ended."""
        self.standing = standing


class _Look(NamedTuple):
    """Where the end of an entry tells of the agreements that are asked about."""

    names: tuple[Named, ...]
    places: tuple[int, ...]
    """What was said of each, the mark of each, the person."""


class _View:
    """What is seen of an entry by who asks about some agreements only."""

    __slots__ = ("by_heart", "forms", "looks")

    def __init__(self) -> None:
        self.looks: dict[bytes, _Look] = {}
        """By the code of an entry's agreements."""
        self.forms: dict[tuple[tuple[Named, ...], bytes, int], Form] = {}
        """By these agreements, what a look finds, and how many turns have passed."""
        self.by_heart: dict[tuple[bytes, int], Form] = {}
        """By the end of an entry, and how many turns have passed."""


class Standings:
    """Subject ref (16 bytes) → standing, as the records of `consent` tell it. Of one thread."""

    def __init__(self, decode: Callable[[bytes], Standing]) -> None:
        """``decode`` reads any record, and refuses what is none; what is not packed is left to it."""
        self._decode = decode
        # By the ref as a number: 16 bytes less for each subject than as `bytes`.
        self._entries: dict[int, bytes | Standing] = {}
        self._book = Codes()
        self._encode = self._book.encode
        self._views: dict[frozenset[str], _View] = {}
        self._now_ms, self._now = 0, bytes(INSTANT_BYTES)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, ref: bytes) -> bool:
        return _number(ref) in self._entries

    def put(self, ref: bytes, value: bytes) -> bool:
        """Take in a record. Returns whether it is newer than what was known; one that is older changes nothing.

        A relay that repeats itself may write an old standing after a newer one: the revision tells. Raises what
        ``decode`` raises, and then changes nothing.
        """
        entry = self._encode(value) or self._parsed(value)
        number = _number(ref)
        known = self._entries.setdefault(number, entry)
        if known is entry:
            return True
        before, after = _revision(known), _revision(entry)
        if after >= before:
            self._entries[number] = entry
        return after > before

    def _parsed(self, value: bytes) -> bytes | Standing:
        """Read what is not packed; it may have been written before standings were."""
        standing = self._decode(value)
        packed = pack(standing)
        return (self._book.encode(packed) if packed else None) or standing

    def erase(self, ref: bytes, revision: int) -> bool:
        """Forget what the subject said (GDPR Art. 17), but not how far: no older record brings it back until `drop`.

        Returns whether this is newer than what was known; what is older changes nothing.
        """
        erased = Standing(linked=False, revision=revision)
        number = _number(ref)
        known = self._entries.get(number)
        if known is not None and _revision(known) >= _revision(erased):
            return False
        self._entries[number] = erased
        return True

    def drop(self, ref: bytes) -> None:
        """Forget that there was such a subject."""
        self._entries.pop(_number(ref), None)

    def at(self, ref: bytes, now_ms: int, about: frozenset[str]) -> Form | Standing:
        """Return what decides at this instant (epoch milliseconds) about these agreements, named by their ids.

        `UNKNOWN_SUBJECT` for none; a whole `Standing` says more than was asked.
        """
        entry = self._entries.get(_number(ref))
        if type(entry) is not bytes:
            return entry or UNKNOWN_SUBJECT  # type: ignore[return-value] # mypy does not narrow by type()
        turns, passed = entry[0], 0
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
        look = view.looks.get(end[-CODE_BYTES:]) or self._look(about, view, end)
        key = look.names, bytes([end[place] for place in look.places]), passed
        form = view.forms.get(key) or _form(view, key)
        if len(view.by_heart) >= ENDS_KEPT:
            view.by_heart.clear()
        view.by_heart[which] = form
        return form

    def _look(self, about: frozenset[str], view: _View, end: bytes) -> _Look:
        names = self._book.agreements(end)
        asked = [place for place, name in enumerate(names) if name.agreement in about]
        marks = [len(names) + place for place in asked]
        look = _Look(tuple(names[place] for place in asked), (*asked, *marks, 2 * len(names)))
        if end[-CODE_BYTES:] != ONE_BY_ONE:
            if len(view.looks) >= LOOKS_KEPT:
                view.looks.clear()
            view.looks[end[-CODE_BYTES:]] = look
        return look


def _form(view: _View, key: tuple[tuple[Named, ...], bytes, int]) -> Form:
    if len(view.forms) >= FORMS_KEPT:
        view.forms.clear()
    form = view.forms[key] = Form(_standing(*key))
    return form


def _standing(names: Sequence[Named], found: bytes, passed: int) -> Standing:
    """What is said when so many turns have passed."""
    stances = {}
    for name, byte, mark in zip(names, found, found[len(names) : -1], strict=False):
        said = said_in(byte, mark)
        until_ms = _ENDED_MS if said.turn is not None and said.turn < passed else None
        notice = said.notice if name.notice is None else name.notice
        stances[name.agreement] = Stance(
            agreement=name.agreement, state=said.state, notice=notice, at_ms=0, until_ms=until_ms
        )
    person = person_in(found[-1])
    return Standing(
        linked=True,
        stances=stances,
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
    return entry[1:ENTRY_TURNS_AT] if isinstance(entry, bytes) else entry.revision.to_bytes(REVISION_BYTES)
