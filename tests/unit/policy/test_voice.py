"""Who is heard: the table of voice.py, around each instant at which it turns."""

import itertools
from datetime import date

import pytest

from passerelle_consent.policy.agreements import SubjectClass
from passerelle_consent.policy.days import majority_ms, midnight_ms
from passerelle_consent.policy.standing import Protection
from passerelle_consent.policy.voice import Guardianship, Relation, Voice, voice_of_guardian, voice_of_subject
from unit.policy.city import NOW_MS, agreement, standing

ALL = [str(c) for c in SubjectClass]
LAW = {"age": 15, "law": "Loi 78-17, art. 45"}
BORN = date(2010, 6, 1)
MINOR = standing(minor_until_ms=majority_ms(BORN))
FIFTEEN_MS, MAJORITY_MS = midnight_ms(date(2025, 6, 1)), midnight_ms(date(2028, 6, 1))
MOTHER, FATHER = (Guardianship(relation=Relation.PARENT, first_ms=0) for _ in range(2))
TUTOR, CURATOR = (Guardianship(relation=r, first_ms=0) for r in (Relation.TUTOR, Relation.CURATOR))


def about(block=None, **changes):
    return agreement("a", "6-1-a", {"registry.moved.v1": ["street"]}, **{"subjects": ALL, "consent": block, **changes})


def test_an_adult_speaks_alone_and_nobody_else_does():
    for gives in (True, False):
        assert voice_of_subject(about(), standing(), NOW_MS, gives=gives) is Voice.ALONE
        for guardian in (MOTHER, TUTOR, CURATOR):
            assert voice_of_guardian(about(), standing(), guardian, NOW_MS, gives=gives) is Voice.SUBJECT_SPEAKS


@pytest.mark.parametrize("guardian", [MOTHER, TUTOR])
@pytest.mark.parametrize("gives", [True, False])
def test_a_guardian_speaks_for_a_minor_without_own_voice(guardian, gives):
    for now_ms in (FIFTEEN_MS, MAJORITY_MS - 1):
        assert voice_of_subject(about(), MINOR, now_ms, gives=gives) is Voice.GUARDIAN_SPEAKS
        assert voice_of_guardian(about(), MINOR, guardian, now_ms, gives=gives) is Voice.ALONE


def test_a_minor_speaks_from_the_birthday_that_the_agreement_names():
    its = about({"own_voice": LAW})
    for gives in (True, False):
        assert voice_of_subject(its, MINOR, FIFTEEN_MS - 1, gives=gives) is Voice.GUARDIAN_SPEAKS
        assert voice_of_subject(its, MINOR, FIFTEEN_MS, gives=gives) is Voice.ALONE
    assert voice_of_guardian(its, MINOR, MOTHER, FIFTEEN_MS - 1, gives=True) is Voice.ALONE
    assert voice_of_guardian(its, MINOR, MOTHER, FIFTEEN_MS, gives=True) is Voice.SUBJECT_SPEAKS
    assert voice_of_subject(about({"own_voice": {**LAW, "age": 16}}), MINOR, FIFTEEN_MS, gives=True) is (
        Voice.GUARDIAN_SPEAKS
    )


def test_a_guardian_may_take_away_until_majority_and_no_longer():
    its = about({"own_voice": LAW, "guardians": "both"})
    assert voice_of_guardian(its, MINOR, MOTHER, MAJORITY_MS - 1, gives=False, others=[FATHER]) is Voice.ALONE
    assert voice_of_guardian(its, MINOR, MOTHER, MAJORITY_MS, gives=False, others=[FATHER]) is Voice.SUBJECT_SPEAKS
    assert voice_of_subject(its, MINOR, MAJORITY_MS, gives=True) is Voice.ALONE


def test_both_guardians_give_where_the_agreement_asks_both_and_either_takes_away():
    for guardians, expected in (("one", Voice.ALONE), ("both", Voice.TOGETHER)):
        its = about({"guardians": guardians})
        assert voice_of_guardian(its, MINOR, MOTHER, NOW_MS, gives=True, others=[FATHER]) is expected
        assert voice_of_guardian(its, MINOR, MOTHER, NOW_MS, gives=False, others=[FATHER]) is Voice.ALONE


@pytest.mark.parametrize(
    "other",
    [
        None,
        Guardianship(relation=Relation.PARENT, first_ms=0, end_ms=NOW_MS),
        Guardianship(relation=Relation.PARENT, first_ms=NOW_MS + 1),
        CURATOR,
    ],
)
def test_a_guardian_without_another_in_office_is_both(other):
    its, others = about({"guardians": "both"}), [] if other is None else [other]
    assert voice_of_guardian(its, MINOR, MOTHER, NOW_MS, gives=True, others=others) is Voice.ALONE


def test_a_guardian_speaks_only_while_the_relation_is_valid():
    guardian = Guardianship(relation=Relation.PARENT, first_ms=NOW_MS, end_ms=NOW_MS + 10)
    heard = [voice_of_guardian(about(), MINOR, guardian, NOW_MS + n, gives=False) for n in (-1, 0, 9, 10)]
    assert heard == [Voice.RELATION_NOT_BEGUN, Voice.ALONE, Voice.ALONE, Voice.RELATION_OVER]


def test_who_is_assisted_decides_alone():
    its = standing(protection=Protection.ASSISTANCE)
    for gives, block in itertools.product((True, False), (None, {"guardians": "both"})):
        assert voice_of_subject(about(block), its, NOW_MS, gives=gives) is Voice.ALONE
        assert voice_of_guardian(about(block), its, CURATOR, NOW_MS, gives=gives) is Voice.SUBJECT_SPEAKS


def test_the_tutor_gives_for_who_is_represented_and_either_takes_away():
    its = standing(protection=Protection.REPRESENTATION)
    assert voice_of_subject(about(), its, NOW_MS, gives=True) is Voice.GUARDIAN_SPEAKS
    assert voice_of_subject(about(), its, NOW_MS, gives=False) is Voice.ALONE
    for gives in (True, False):
        assert voice_of_guardian(about(), its, TUTOR, NOW_MS, gives=gives) is Voice.ALONE
        for other in (MOTHER, CURATOR):
            assert voice_of_guardian(about(), its, other, NOW_MS, gives=gives) is Voice.WRONG_RELATION


def test_a_curator_has_no_voice_for_a_minor():
    assert voice_of_guardian(about(), MINOR, CURATOR, NOW_MS, gives=False) is Voice.WRONG_RELATION


def test_nobody_gives_under_an_agreement_that_does_not_cover_the_subject_and_taking_away_is_heard():
    its = about(subjects=["adult"])
    assert voice_of_guardian(its, MINOR, MOTHER, NOW_MS, gives=True) is Voice.NOT_COVERED
    assert voice_of_guardian(its, MINOR, MOTHER, NOW_MS, gives=False) is Voice.ALONE
    assisted = standing(protection=Protection.ASSISTANCE)
    assert voice_of_subject(its, assisted, NOW_MS, gives=True) is Voice.NOT_COVERED
    assert voice_of_subject(its, assisted, NOW_MS, gives=False) is Voice.ALONE


def test_only_two_voices_are_heard():
    assert [v for v in Voice if v.heard] == [Voice.ALONE, Voice.TOGETHER]
