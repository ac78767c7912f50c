"""The demonstration's people: each lives the story that the sign-in tells, and nobody lives two."""

from lutece import stories
from lutece.cast import STAFF, cast
from lutece.citizens import generate
from lutece.day import events_of
from passerelle_consent.policy.agreements import SubjectClass


def test_everybody_has_a_story_of_their_own():
    people = generate(1_200)
    found = stories.find(people, list(events_of(people)))
    parts = cast(found)
    assert len({part.id for part in parts}) == len({part.story for part in parts}) == 8 + len(STAFF)
    assert len(found.children) > 1
    assert all(set(child.guardians[:2]) == {found.mother.number, found.father.number} for child in found.children)
    assert found.protected.subject_class is SubjectClass.PROTECTED_ADULT
    assert found.tutor.number not in found.protected.guardians
    assert {found.rescued.number, found.silent.number} & found.own == {found.silent.number}
