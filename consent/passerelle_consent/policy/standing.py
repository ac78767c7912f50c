"""Standing: all that the citizen said, or the law says about that citizen (DESIGN §2)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from passerelle_consent.policy.agreements import SubjectClass


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


class Protection(StrEnum):
    """How an adult is protected (French Civil Code, art. 425 ff.)."""

    ASSISTANCE = "assistance"
    """Beside them: `curatelle`, an enabling family mandate in assistance."""
    REPRESENTATION = "representation"
    """In their name: `tutelle`, a mandate in representation."""


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
    """Vital interests (GDPR Art. 6(1)(d)): an agreement that an officer opened for this subject, and until when."""

    agreement: str
    """The agreement's id, as of a `Stance`."""
    until_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """One subject's standing under one revision of the consent service's record."""

    linked: bool
    revision: int = 0
    stances: Mapping[str, Stance] = field(default_factory=dict)
    restricted_since_ms: int | None = None
    overrides: tuple[Override, ...] = ()
    minor_until_ms: int | None = None
    """Of a minor: the 18th birthday, or the day of emancipation. It is no birth date: an adult has none."""
    protection: Protection | None = None

    def class_at(self, now_ms: int) -> SubjectClass:
        """Whom an agreement must cover to be a basis for this subject at this instant."""
        if self.minor_until_ms is not None and now_ms < self.minor_until_ms:
            return SubjectClass.MINOR
        return SubjectClass.ADULT if self.protection is None else SubjectClass.PROTECTED_ADULT


UNKNOWN_SUBJECT = Standing(linked=False)
