"""Two guardians where an agreement asks both, as the consent service has it."""

from pathlib import Path

import pytest

from passerelle.city.manifest import Manifest
from passerelle.saying import NotSaid
from passerelle.testkit.citizens import Citizens
from passerelle_consent.policy.agreements import Guardians
from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_consent.policy.standing import State
from passerelle_consent.records.sayable import WAIT_MS
from passerelle_consent.records.transitions import Action

MANIFEST = Manifest.load(Path(__file__).parents[3] / "deploy/city.yaml")
MINOR_UNTIL_MS = 2_222_222_222_000
NOW_MS = 1_800_000_000_000
NURSERY = "birth-nursery"


@pytest.fixture
def citizens():
    bundle = MANIFEST.policy_bundle()
    both = [
        a.model_copy(update={"consent": a.consent.model_copy(update={"guardians": Guardians.BOTH})})
        if a.id == NURSERY
        else a
        for a in bundle.agreements
    ]
    met = Citizens(PolicyBundle.of(both, list(bundle.flows), bundle.catalogue))
    met.meet("lou", minor_until_ms=MINOR_UNTIL_MS, guardians=("anna", "ben"))
    return met


def test_one_guardian_of_two_has_only_asked(citizens):
    assert citizens.say("lou", NURSERY, Action.GIVE, NOW_MS, by="anna").stances[NURSERY].state is State.REQUESTED
    assert citizens.say("lou", NURSERY, Action.GIVE, NOW_MS, by="anna").stances[NURSERY].state is State.REQUESTED
    assert citizens.say("lou", NURSERY, Action.GIVE, NOW_MS, by="ben").stances[NURSERY].state is State.GIVEN
    assert citizens.say("lou", NURSERY, Action.WITHDRAW, NOW_MS, by="anna").stances[NURSERY].state is State.WITHDRAWN


def test_a_consent_that_waited_too_long_counts_no_more(citizens):
    citizens.say("lou", NURSERY, Action.GIVE, NOW_MS, by="anna")
    late = citizens.say("lou", NURSERY, Action.GIVE, NOW_MS + WAIT_MS, by="ben")
    assert late.stances[NURSERY].state is State.REQUESTED


def test_a_no_in_between_forgets_the_first_yes(citizens):
    citizens.say("lou", NURSERY, Action.GIVE, NOW_MS, by="anna")
    citizens.say("lou", NURSERY, Action.REFUSE, NOW_MS, by="ben")
    assert citizens.say("lou", NURSERY, Action.GIVE, NOW_MS, by="ben").stances[NURSERY].state is State.REQUESTED


def test_an_office_is_over_at_majority(citizens):
    with pytest.raises(NotSaid, match="over") as no:
        citizens.say("lou", NURSERY, Action.GIVE, MINOR_UNTIL_MS, by="anna")
    assert no.value.problem == "guardianship-not-valid"
