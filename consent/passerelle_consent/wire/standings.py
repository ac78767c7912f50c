"""Values of `consent`: what holds for each subject."""

import io
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import fastavro

from passerelle_consent.policy import packed
from passerelle_consent.policy.packed import INSTANT_BYTES, REVISION_BYTES
from passerelle_consent.policy.standing import Actor, Override, Protection, Stance, Standing, State
from passerelle_consent.wire import body
from passerelle_consent.wire.body import VERSION, BadRecord

PACKED_VERSION = bytes([packed.VERSION])
"""Of a usual standing, which `policy.packed` describes; all others are of `VERSION`."""
POLICY_KEY = b"policy"
"""The key of the policy bundle on `consent`. Six bytes, so it is no subject ref (sixteen)."""
ROLL_KEY = b"roll"
"""The key of a record of `consent` that says nothing, and has no value. Kafka closes a segment only when something is
appended, and compacts closed ones only: on a quiet partition an erased subject's last standing would stay for ever."""
SUBJECT_REF_BYTES = 16
# A standing that is not usual, or was written before usual ones were packed; turns are named by their place:
#     version · revision · turns … · said at … · what was said (Avro) · number of turns · of stances
_OWN_AT, _COUNT_BYTES, _STANCE_MARK = 1 + REVISION_BYTES, 2, b"\xff"
_SAID = fastavro.parse_schema(
    body.record(
        "Said",
        linked="boolean",
        protection=body.nullable(body.enum("Protection", Protection)),
        minor_until=body.nullable("int"),
        restricted_since_ms=body.nullable("long"),
        overrides=body.array(body.record("Override", agreement="string", until="int")),
        stances=body.array(
            body.record(
                "Stance",
                mark=body.fixed("Mark", len(_STANCE_MARK)),
                agreement="string",
                state=body.enum("State", State),
                notice=body.nullable("int"),
                until=body.nullable("int"),
                by=body.enum("Actor", Actor),
            )
        ),
    )
)
_STATE = {body.symbol(s): s for s in State}
_PROTECTION = {body.symbol(p): p for p in Protection}
_ACTOR = {body.symbol(a): a for a in Actor}


def encode_standing(standing: Standing) -> bytes:
    """Value of `consent` under a subject ref. Instants are milliseconds of 1970 or later, below 2^48."""
    return packed.pack(standing) or _encode_parted(standing)


def _encode_parted(standing: Standing) -> bytes:
    turns = packed.turns_of(standing)
    places: dict[int | None, int] = {turn: place for place, turn in enumerate(turns)}
    instants = (*turns, *(s.at_ms for s in standing.stances.values()))
    counts = (len(turns), len(standing.stances))
    out = io.BytesIO()
    out.write(VERSION + standing.revision.to_bytes(REVISION_BYTES))
    out.write(b"".join([instant.to_bytes(INSTANT_BYTES) for instant in instants]))
    fastavro.schemaless_writer(out, _SAID, _plain_said(standing, places))
    out.write(b"".join([count.to_bytes(_COUNT_BYTES) for count in counts]))
    return out.getvalue()


def _plain_said(standing: Standing, places: Mapping[int | None, int]) -> dict[str, Any]:
    return {
        "linked": standing.linked,
        "protection": None if standing.protection is None else body.symbol(standing.protection),
        "minor_until": places.get(standing.minor_until_ms),
        "restricted_since_ms": standing.restricted_since_ms,
        "overrides": [{"agreement": o.agreement, "until": places[o.until_ms]} for o in standing.overrides],
        "stances": [
            {
                "mark": _STANCE_MARK,
                "agreement": s.agreement,
                "state": body.symbol(s.state),
                "notice": s.notice,
                "until": places.get(s.until_ms),
                "by": body.symbol(s.by),
            }
            for s in standing.stances.values()
        ],
    }


def decode_standing(value: bytes) -> Standing:
    """Raises `BadRecord`."""
    if value[:1] != PACKED_VERSION:
        return _decode_parted(value)
    try:
        return packed.unpack(value)
    except (ValueError, IndexError) as exc:
        raise BadRecord(f"standing: {type(exc).__name__}") from None


def _decode_parted(value: bytes) -> Standing:
    if value[:1] != VERSION or len(value) < _OWN_AT + 2 * _COUNT_BYTES:
        raise BadRecord("standing: unknown version byte, or too short")
    body_end = len(value) - 2 * _COUNT_BYTES
    counts = (int.from_bytes(value[body_end:][:_COUNT_BYTES]), int.from_bytes(value[-_COUNT_BYTES:]))
    body_at = _OWN_AT + INSTANT_BYTES * sum(counts)
    read = body.read(_SAID, value[body_at:body_end], "standing")
    starts = range(_OWN_AT, body_at, INSTANT_BYTES)
    instants = [int.from_bytes(value[at : at + INSTANT_BYTES]) for at in starts]
    turns, said_at = instants[: counts[0]], instants[counts[0] :]
    if len(read["stances"]) != len(said_at) or any(a >= b for a, b in pairwise(turns)):
        raise BadRecord("standing: its counts or its turns are not what they should be")
    if any(stance["mark"] != _STANCE_MARK for stance in read["stances"]):
        raise BadRecord("standing: a stance without its mark")
    try:
        return _standing(read, turns, said_at, revision=int.from_bytes(value[1:_OWN_AT]))
    except IndexError:
        raise BadRecord("standing: a turn that it does not have") from None


def _standing(read: Mapping[str, Any], turns: Sequence[int], said_at: Iterable[int], *, revision: int) -> Standing:
    """Raises `IndexError`."""

    def turn(place: int | None) -> int | None:
        if place is not None and place < 0:
            raise IndexError
        return None if place is None else turns[place]

    stances = (
        Stance(
            agreement=s["agreement"],
            state=_STATE[s["state"]],
            notice=s["notice"],
            at_ms=at_ms,
            until_ms=turn(s["until"]),
            by=_ACTOR[s["by"]],
        )
        for s, at_ms in zip(read["stances"], said_at, strict=True)
    )
    overrides = (Override(agreement=o["agreement"], until_ms=turn(o["until"]) or 0) for o in read["overrides"])
    return Standing(
        linked=read["linked"],
        revision=revision,
        stances={s.agreement: s for s in stances},
        restricted_since_ms=read["restricted_since_ms"],
        overrides=tuple(overrides),
        minor_until_ms=turn(read["minor_until"]),
        protection=None if read["protection"] is None else _PROTECTION[read["protection"]],
    )
