"""What follows from a word, and what a page says when the world went on without it."""

import re
from dataclasses import replace

import pytest

from passerelle.web.citizen.effects import Effect, followed, since
from passerelle.web.citizen.purposes import HEADINGS, by_purpose
from passerelle.web.citizen.sharing import Bridge, Sharings
from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_consent.policy.standing import Stance, Standing, State
from unit.web.test_citizen import BINS, CANTEEN, fields, said

HOUSEHOLD = "meal-tariff-household"
NOW_MS = 1_777_593_600_000
NOW = "2026-05-01T00:00:00.000Z"


@pytest.fixture
async def claire(town):
    return await town.citizen("Morel")


@pytest.fixture(scope="module")
def sharings():
    from passerelle.city.manifest import Manifest
    from unit.web.town import MANIFEST

    return Sharings(Manifest.load(MANIFEST).policy_bundle(), "fr")


def stance(agreement, state=State.GIVEN, **more):
    return Stance(agreement=agreement, state=state, notice=1, at_ms=NOW_MS, **more)


def seen(sharings, *stances):
    """The canteen's sharing for somebody of these stances, and their control of the income."""
    standing = Standing(linked=True, stances={s.agreement: s for s in stances})
    (sharing,) = sharings.under(CANTEEN, standing, NOW_MS)
    return sharing, next(c for c in sharing.controls if c.agreement.id == CANTEEN)


def test_a_yes_opens_only_when_all_that_is_needed_is_there(sharings):
    sharing, control = seen(sharings, stance(CANTEEN))
    found = followed({"state": "given", "recorded_at": NOW}, control, sharing)
    assert found.effect is Effect.INCOMPLETE
    assert [c.agreement.id for c in found.lacking] == [HOUSEHOLD]
    sharing, control = seen(sharings, stance(CANTEEN), stance(HOUSEHOLD))
    assert followed({"state": "given", "recorded_at": NOW}, control, sharing).effect is Effect.OPENS
    assert sharing.bridge is Bridge.OPEN


@pytest.mark.parametrize("state", ["withdrawn", "refused", "objected"])
def test_a_no_ends(sharings, state):
    sharing, control = seen(sharings, stance(CANTEEN, State(state)))
    assert followed({"state": state, "recorded_at": NOW}, control, sharing).effect is Effect.ENDS


def test_the_first_of_two_guardians_is_told_to_wait(sharings):
    sharing, control = seen(sharings, stance(CANTEEN, State.REQUESTED))
    assert followed({"state": "requested", "recorded_at": NOW}, control, sharing).effect is Effect.WAITS


def test_an_older_word_says_that_another_holds_now(sharings):
    sharing, control = seen(sharings, stance(CANTEEN, State.WITHDRAWN))
    before = {"state": "given", "recorded_at": "2026-04-30T23:59:59.999Z"}
    assert followed(before, control, sharing).effect is Effect.SUPERSEDED


def test_a_yes_whose_time_is_over_is_no_yes_and_no_refusal(sharings):
    _, control = seen(sharings, stance(CANTEEN, until_ms=NOW_MS))
    assert (control.consented, control.superseded, control.lapsed) == (False, False, True)


def test_what_was_said_since_is_known_by_its_revision():
    changes = [{"revision": n} for n in (9, 8, 7)]
    assert since(changes, "7") == changes[:2]
    for unknown in ("", "x", "²", "-1"):
        assert since(changes, unknown) == []


def test_every_purpose_of_the_city_has_its_heading_and_no_sharing_is_lost(sharings):
    found = sharings.all(Standing(linked=True), NOW_MS)
    groups = by_purpose(found)
    assert {heading for heading, _ in groups} <= set(HEADINGS.values())
    assert sorted(s.flow.id for _, group in groups for s in group) == sorted(s.flow.id for s in found)


async def test_a_new_notice_asks_anew_at_the_top_of_the_page(town, claire):
    async with town.visitor(claire) as visitor:
        await said(visitor, CANTEEN, "give")
        assert "Un accord a changé" not in (await visitor.get("/mes-partages")).text
        agreements = [
            a.model_copy(update={"notice": a.notice.model_copy(update={"version": 2})}) if a.id == CANTEEN else a
            for a in town.site.policy.agreements
        ]
        newer = PolicyBundle.of(agreements, town.site.policy.flows, town.site.policy.catalogue)
        town.app.state.site = replace(town.site, policy=newer)
        shown = (await visitor.get("/mes-partages")).text
    assert "Votre oui d’avant ne vaut plus" in shown.partition("Un accord a changé")[2]


async def test_a_withdrawal_that_has_yet_to_take_effect_is_not_said_to_have(town, claire):
    async with town.visitor(claire) as visitor:
        await said(visitor, CANTEEN, "give")
        town.city.gate.diligent = False
        town.city.records._parts = replace(town.city.records._parts, patience_s=0.01)
        where = (await said(visitor, CANTEEN, "withdraw")).headers["location"]
        waiting = (await visitor.get(where)).text
    assert "<title>En cours" in waiting
    assert "Effectif le" not in waiting
    assert "plus rien n’est envoyé" not in waiting
    assert 'hx-trigger="every' in waiting
    assert '<noscript><meta http-equiv="refresh"' in waiting


async def test_another_tab_that_is_behind_is_told_what_was_said_meanwhile(town, claire):
    async with town.visitor(claire) as visitor:
        old = await visitor.get(f"/mes-partages/accord/{BINS}")
        await said(visitor, CANTEEN, "give")
        answer = await visitor.post(f"/mes-partages/accord/{BINS}", data=fields(old, "object"))
    assert answer.status_code == 409
    told = answer.text.partition('role="alert"')[2].partition("</div>")[0]
    assert re.search(r"\d\d:\d\d:\d\d,\d{3}</span>\s+Tarif de cantine\s: vous avez dit oui", told)


async def test_going_back_and_sending_again_shows_how_it_is_now(town, claire):
    async with town.visitor(claire) as visitor:
        shown = await visitor.get(f"/mes-partages/accord/{CANTEEN}")
        first = await visitor.post(f"/mes-partages/accord/{CANTEEN}", data=fields(shown))
        await said(visitor, CANTEEN, "withdraw")
        again = await visitor.post(f"/mes-partages/accord/{CANTEEN}", data=fields(shown))
        assert again.headers["location"] == first.headers["location"]
        receipt = (await visitor.get(again.headers["location"])).text
        assert "Vous avez répondu autrement depuis." in receipt
        assert 'aria-checked="false"' in (await visitor.get(f"/mes-partages/accord/{CANTEEN}")).text


async def test_a_sharing_shows_its_own_deliveries_behind_many_others(town, claire):
    flows = [flow.id for flow in town.told.flows]
    async with town.visitor(claire) as visitor:
        town.told.decide(claire.pseudonym.hex(), flow=flows.index("move.tax"))
        town.told.decide(claire.pseudonym.hex(), flow=flows.index("move.cleanliness"), count=300)
        shown = (await visitor.get("/mes-partages/accord/move-tax")).text
        history = (await visitor.get("/historique?accord=move-tax")).text
    assert "Aucun envoi pour le moment" not in shown
    assert history.count('role="rowheader"') == 1
