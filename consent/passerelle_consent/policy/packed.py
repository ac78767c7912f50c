"""A usual standing as bytes that need no parsing. Pure.

    version · stances · turns · revision · turns … · said … · marks … · person · said at … · agreements
    1         1         1       4          6 each    1 each   1 each    1        6 each      to the end

A *turn* is an instant at which a standing changes by itself: a consent ends, a minor comes of age. Turns ascend, and
all else names them by their place, so that what counts of them at an instant is only how many have passed. What decides
stands together and at a fixed width: whoever keeps millions cuts it out (`codes`). The agreements' ids, in order and
with a zero between them, are the same for all who were asked the same, whatever they answered.

A notice that has no room in its byte stands behind its agreement's id. Not usual is a restriction, an override, or
nobody's link: `wire` writes those in Avro.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple, TypeGuard

from passerelle_consent.policy.standing import Actor, Protection, Stance, Standing, State

VERSION = 2
REVISION_BYTES, INSTANT_BYTES = 4, 6
"""Numbers are unsigned, most significant byte first: bytes compare as numbers do. Four bytes count four thousand
million changes of one subject; milliseconds last until 10889."""
HEAD_BYTES = 3
"""The version and how many: who has read these knows where all else stands."""
TURNS_AT = HEAD_BYTES + REVISION_BYTES
STANCES_MAX = 255
TURNS_MAX = 64
NOTICE_MAX = 14
BETWEEN, BEHIND = "\0", "\1"

_STATES, _ACTORS, _PROTECTED = tuple(State), tuple(Actor), (None, *Protection)
_NOTICES = NOTICE_MAX + 2
_PLACES = TURNS_MAX + 1

SAID_BYTES = bytes(range(len(_STATES) * _NOTICES))
"""A state and a notice, or none. States, actors and protections are numbered as they are declared: append only."""


def mark_bytes(turns: int) -> bytes:
    """Return what may stand as a mark, or as the person, where there are so many turns.

    A mark is who said it, and the place of the turn that ends it; the person is the protection, and of which turn the
    majority is. Both are of three, and either may name no turn.
    """
    return bytes(kind * _PLACES + place for kind in range(len(_ACTORS)) for place in range(turns + 1))


class Person(NamedTuple):
    """What decides about a subject besides the stances; ``turn`` is the place of majority."""

    protection: Protection | None
    turn: int | None


class Named(NamedTuple):
    """What was spoken about. ``notice``, if not None, goes before that of the `Said`."""

    agreement: str
    notice: int | None


class Said(NamedTuple):
    """What was said; ``turn`` is the place of its end."""

    state: State
    notice: int | None
    turn: int | None
    by: Actor


def person_in(byte: int) -> Person:
    """Read the person. Raises `IndexError`."""
    protection, place = divmod(byte, _PLACES)
    return Person(_PROTECTED[protection], place - 1 if place else None)


def said_in(said: int, mark: int) -> Said:
    """Read a stance. Raises `IndexError`."""
    (state, notice), (by, place) = divmod(said, _NOTICES), divmod(mark, _PLACES)
    return Said(_STATES[state], notice - 1 if notice else None, place - 1 if place else None, _ACTORS[by])


def named_in(names: bytes, stances: int) -> tuple[Named, ...]:
    """Read the agreements. Raises `ValueError` unless there are as many, in order, and none twice."""
    found = tuple(map(_named, names.decode().split(BETWEEN))) if names else ()
    if len(found) != stances or any(a.agreement >= b.agreement for a, b in pairwise(found)):
        raise ValueError("the agreements of a standing are not in order, or not as many as its stances")
    return found


def _named(text: str) -> Named:
    agreement, behind, notice = text.partition(BEHIND)
    return Named(agreement, int(notice) if behind else None)


def turns_of(standing: Standing) -> list[int]:
    """Return the instants at which it changes by itself, ascending."""
    ends = {stance.until_ms for stance in standing.stances.values()} | {o.until_ms for o in standing.overrides}
    return sorted(turn for turn in {*ends, standing.minor_until_ms} if turn is not None)


def pack(standing: Standing) -> bytes | None:
    """Return a usual standing as bytes, None for one that is not. Instants are of 1970 or later, below 2^48."""
    if not standing.linked or standing.restricted_since_ms is not None or standing.overrides:
        return None
    turns, stances = turns_of(standing), [stance for _, stance in sorted(standing.stances.items())]
    if len(turns) > TURNS_MAX or len(stances) > STANCES_MAX or not all(map(_can_be_named, stances)):
        return None
    places: dict[int | None, int] = {None: 0, **{turn: place for place, turn in enumerate(turns, 1)}}
    return b"".join(
        (
            bytes((VERSION, len(stances), len(turns))),
            standing.revision.to_bytes(REVISION_BYTES),
            *(turn.to_bytes(INSTANT_BYTES) for turn in turns),
            bytes(_STATES.index(s.state) * _NOTICES + (s.notice + 1 if _has_room(s.notice) else 0) for s in stances),
            bytes(_ACTORS.index(s.by) * _PLACES + places[s.until_ms] for s in stances),
            bytes((_PROTECTED.index(standing.protection) * _PLACES + places[standing.minor_until_ms],)),
            *(s.at_ms.to_bytes(INSTANT_BYTES) for s in stances),
            BETWEEN.join(map(_name, stances)).encode(),
        )
    )


def _can_be_named(stance: Stance) -> bool:
    return bool(stance.agreement) and BETWEEN not in stance.agreement and BEHIND not in stance.agreement


def _has_room(notice: int | None) -> TypeGuard[int]:
    return notice is not None and 0 <= notice <= NOTICE_MAX


def _name(stance: Stance) -> str:
    behind = stance.notice is not None and not _has_room(stance.notice)
    return f"{stance.agreement}{BEHIND}{stance.notice}" if behind else stance.agreement


def unpack(value: bytes) -> Standing:
    """Read what `pack` returned. Raises `ValueError` or `IndexError` when it did not."""
    version, count, turn_count = value[:HEAD_BYTES].ljust(HEAD_BYTES, b"\0")
    said_at = TURNS_AT + INSTANT_BYTES * turn_count
    marks_at, person_at = said_at + count, said_at + 2 * count
    names_at = person_at + 1 + INSTANT_BYTES * count
    if version != VERSION or turn_count > TURNS_MAX or len(value) < names_at:
        raise ValueError("no usual standing")
    turns = [*_instants(value[TURNS_AT:said_at])]
    if any(a >= b for a, b in pairwise(turns)):
        raise ValueError("turns that do not ascend")
    person = person_in(value[person_at])
    names = named_in(value[names_at:], count)
    stances = {}
    for named, byte, mark, at_ms in zip(
        names,
        value[said_at:marks_at],
        value[marks_at:person_at],
        _instants(value[person_at + 1 : names_at]),
        strict=True,
    ):
        said = said_in(byte, mark)
        until_ms = None if said.turn is None else turns[said.turn]
        stances[named.agreement] = Stance(
            agreement=named.agreement,
            state=said.state,
            notice=said.notice if named.notice is None else named.notice,
            at_ms=at_ms,
            until_ms=until_ms,
            by=said.by,
        )
    return Standing(
        linked=True,
        revision=int.from_bytes(value[HEAD_BYTES:TURNS_AT]),
        stances=stances,
        minor_until_ms=None if person.turn is None else turns[person.turn],
        protection=person.protection,
    )


def _instants(packed: bytes) -> Iterator[int]:
    for at in range(0, len(packed), INSTANT_BYTES):
        yield int.from_bytes(packed[at : at + INSTANT_BYTES])
