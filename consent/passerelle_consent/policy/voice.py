"""Who may speak for a subject about an agreement, alone or with the other guardian. Pure.

| The subject is | gives | refuses, withdraws, objects |
|---|---|---|
| an adult | the subject | the subject |
| a minor who has reached the agreement's `own_voice` | the minor | the minor, or a guardian |
| any other minor | a guardian, or both where the agreement asks both | a guardian |
| an adult under assistance | the subject | the subject |
| an adult under representation | the tutor | the subject, or the tutor |

Why so, by the French law: decisions/0002-voices.md.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from passerelle_consent.policy.agreements import Agreement, Consent, Guardians, SubjectClass
from passerelle_consent.policy.days import reached_ms
from passerelle_consent.policy.standing import Protection, Standing


class Relation(StrEnum):
    """What a guardian is to the subject, by a judgment or by birth."""

    PARENT = "parent"
    """Holds parental authority over a minor (French Civil Code, art. 371-1)."""
    TUTOR = "tutor"
    """Represents a minor without parents (art. 390), or a protected adult (art. 473, 494-6: also a mandate)."""
    CURATOR = "curator"
    """Assists a protected adult (art. 467)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Guardianship:
    """A guardian's relation of record to one subject, and when it is valid: [first, end), epoch milliseconds."""

    relation: Relation
    first_ms: int
    end_ms: int | None = None


class Voice(StrEnum):
    """Whether somebody is heard. Closed: the first two are, the others say why not."""

    ALONE = "alone"
    TOGETHER = "together"
    """Counts when another guardian in office has said the same."""
    NOT_COVERED = "subject-not-covered"
    """The agreement is no basis for subjects of this class, so that a consent to it would be void."""
    SUBJECT_SPEAKS = "subject-speaks"
    """Nobody speaks in the place of this subject."""
    GUARDIAN_SPEAKS = "guardian-speaks"
    """The subject does not speak alone here."""
    WRONG_RELATION = "wrong-relation"
    """Such a relation gives no voice for such a subject."""
    RELATION_NOT_BEGUN = "relation-not-begun"
    RELATION_OVER = "relation-over"

    @property
    def heard(self) -> bool:
        """Whether what is said is taken down."""
        return self in (Voice.ALONE, Voice.TOGETHER)


_OF_MINORS = (Relation.PARENT, Relation.TUTOR)


def voice_of_subject(agreement: Agreement, standing: Standing, now_ms: int, *, gives: bool) -> Voice:
    """Tell whether the subject is heard. ``gives``: it gives or renews a consent; all else only takes away."""
    its_class = standing.class_at(now_ms)
    if gives and its_class not in agreement.subjects:
        return Voice.NOT_COVERED
    if its_class is SubjectClass.MINOR:
        return Voice.ALONE if has_own_voice(agreement, standing, now_ms) else Voice.GUARDIAN_SPEAKS
    represented = standing.protection is Protection.REPRESENTATION
    return Voice.GUARDIAN_SPEAKS if gives and represented else Voice.ALONE


def voice_of_guardian(
    agreement: Agreement,
    standing: Standing,
    guardian: Guardianship,
    now_ms: int,
    *,
    gives: bool,
    others: Iterable[Guardianship] = (),
) -> Voice:
    """Tell whether this guardian is heard; ``others`` are the subject's other guardians of record."""
    if not _in_office(guardian, now_ms):
        return Voice.RELATION_NOT_BEGUN if now_ms < guardian.first_ms else Voice.RELATION_OVER
    its_class = standing.class_at(now_ms)
    if gives and its_class not in agreement.subjects:
        return Voice.NOT_COVERED
    if its_class is not SubjectClass.MINOR:
        return _for_an_adult(standing, guardian)
    if guardian.relation not in _OF_MINORS:
        return Voice.WRONG_RELATION
    if gives and has_own_voice(agreement, standing, now_ms):
        return Voice.SUBJECT_SPEAKS
    together = gives and terms_of(agreement).guardians is Guardians.BOTH and _another(others, now_ms)
    return Voice.TOGETHER if together else Voice.ALONE


def voice_of_subject_as_a_whole(standing: Standing, now_ms: int) -> Voice:
    """Tell whether the subject is heard about all of their data: to let it be used again takes whoever gives."""
    if standing.class_at(now_ms) is SubjectClass.MINOR or standing.protection is Protection.REPRESENTATION:
        return Voice.GUARDIAN_SPEAKS
    return Voice.ALONE


def voice_of_guardian_as_a_whole(standing: Standing, guardian: Guardianship, now_ms: int) -> Voice:
    """Tell whether a guardian in office is heard about all of the subject's data, no agreement named."""
    if standing.class_at(now_ms) is not SubjectClass.MINOR:
        return _for_an_adult(standing, guardian)
    return Voice.ALONE if guardian.relation in _OF_MINORS else Voice.WRONG_RELATION


def has_own_voice(agreement: Agreement, standing: Standing, now_ms: int) -> bool:
    """Whether a minor has reached the age at which this agreement lets a minor speak alone."""
    own = terms_of(agreement).own_voice
    if own is None or standing.minor_until_ms is None:
        return False
    return now_ms >= reached_ms(standing.minor_until_ms, own.age)


def terms_of(agreement: Agreement) -> Consent:
    """Return how a consent is given here, also where the agreement does not say."""
    return agreement.consent or _NO_TERMS


_NO_TERMS = Consent()


def _for_an_adult(standing: Standing, guardian: Guardianship) -> Voice:
    if standing.protection is not Protection.REPRESENTATION:
        return Voice.SUBJECT_SPEAKS
    return Voice.ALONE if guardian.relation is Relation.TUTOR else Voice.WRONG_RELATION


def _another(others: Iterable[Guardianship], now_ms: int) -> bool:
    return any(o.relation in _OF_MINORS and _in_office(o, now_ms) for o in others)


def _in_office(guardian: Guardianship, now_ms: int) -> bool:
    return guardian.first_ms <= now_ms and (guardian.end_ms is None or now_ms < guardian.end_ms)
