"""Values of `fence` and of `marks`: how far a gate's task has come."""

from dataclasses import dataclass

import fastavro

from passerelle_consent.wire import body
from passerelle_consent.wire.origin import Origin


@dataclass(frozen=True, kw_only=True, slots=True)
class FenceMark:
    """Task i decides on all of `consent[i]` below ``applied``."""

    applied: int
    worker: str


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Mark:
    """How far one source was decided: the highest (offset, n)."""

    offset: int
    n: int


_FENCE = fastavro.parse_schema(body.record("FenceMark", applied="long", worker="string"))
_MARK = fastavro.parse_schema(body.record("Mark", offset="long", n="int"))


def encode_fence(mark: FenceMark) -> bytes:
    """Value of `fence`."""
    return body.encode(_FENCE, {"applied": mark.applied, "worker": mark.worker})


def decode_fence(value: bytes) -> FenceMark:
    """Raises `BadRecord`."""
    return FenceMark(**body.decode(_FENCE, value, "fence mark"))


def encode_mark(mark: Mark) -> bytes:
    """Value of `marks`."""
    return body.encode(_MARK, {"offset": mark.offset, "n": mark.n})


def decode_mark(value: bytes) -> Mark:
    """Raises `BadRecord`."""
    return Mark(**body.decode(_MARK, value, "mark"))


def mark_key(origin: Origin) -> bytes:
    """Key of `marks`: one rule's proposals from one outbox partition."""
    return f"{origin.rule};{origin.topic};{origin.partition}".encode()
