"""Standing: all that the citizen said, or the law says about that citizen (DESIGN §2)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class State(StrEnum):
    """Where one agreement stands for one subject.

    The first ten are the consent statuses of the Data Privacy Vocabulary (DPV 2, `dpv:ConsentStatus`); the last
    two are what the right to object adds (GDPR Art. 21).
    """

    REQUESTED = "requested"
    DEFERRED = "deferred"
    GIVEN = "given"
    RENEWED = "renewed"
    REFUSED = "refused"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    REVOKED = "revoked"
    INVALIDATED = "invalidated"
    UNKNOWN = "unknown"
    OBJECTED = "objected"
    RESUMED = "resumed"


class Actor(StrEnum):
    """Who said it."""

    SUBJECT = "subject"
    GUARDIAN = "guardian"
    OFFICER = "officer"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stance:
    """What was last said about one agreement. Times are epoch milliseconds."""

    agreement: str
    """The agreement's id: a stance outlives its versions, and the notice tells whether it still holds."""
    state: State
    notice: int | None = None
    at_ms: int
    until_ms: int | None = None
    by: Actor = Actor.SUBJECT


@dataclass(frozen=True, kw_only=True, slots=True)
class Override:
    """Vital interests (GDPR Art. 6(1)(d)): what an officer opened for one recipient, and until when."""

    recipient: str
    until_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """One subject's standing under one revision of the consent service's record."""

    linked: bool
    revision: int = 0
    stances: Mapping[str, Stance] = field(default_factory=dict)
    restricted_since_ms: int | None = None
    overrides: tuple[Override, ...] = ()


UNKNOWN_SUBJECT = Standing(linked=False)
