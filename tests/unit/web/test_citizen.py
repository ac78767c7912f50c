"""What citizens see and say, over the real consent service and the policy core that the gate has."""

import re
from html import unescape

import pytest

from passerelle.web.visit import FORM_TOKEN
from unit.web.people import opened
from unit.web.town import form_token

CANTEEN, BINS = "meal-tariff-income", "move-cleanliness"


@pytest.fixture
async def claire(town):
    return await town.citizen("Morel")


def fields(shown, word="give"):
    """What the first form of a page that says this word sends."""
    form = next(f for f in re.findall(r"<form.*?</form>", shown.text, re.DOTALL) if f'value="{word}"' in f)
    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form)
    sent = {name: unescape(value) for name, value in hidden}
    return {**sent, "dire": word}


async def said(visitor, agreement, word):
    shown = await visitor.get(f"/mes-partages/accord/{agreement}")
    return await visitor.post(f"/mes-partages/accord/{agreement}", data=fields(shown, word))


@pytest.mark.parametrize("prefix", ["", "/en"])
async def test_what_is_shared_is_said_in_words_with_its_control(town, claire, prefix):
    async with town.visitor(claire) as visitor:
        shown = (await visitor.get(prefix + "/mes-partages")).text
    assert 'role="switch" aria-checked="false"' in shown
    assert ("M’opposer à ce partage" if not prefix else "Object to this sharing") in shown


async def test_a_yes_is_acknowledged_at_its_instant_and_the_switch_is_on(town, claire):
    async with town.visitor(claire) as visitor:
        answer = await said(visitor, CANTEEN, "give")
        assert answer.status_code == 303
        receipt = await visitor.get(answer.headers["location"])
        assert "<title>Vous avez dit oui" in receipt.text
        assert re.search(r"Effectif le .* à</small>\d\d:\d\d:\d\d,\d{3}", receipt.text)
        again = await visitor.get(f"/mes-partages/accord/{CANTEEN}")
        assert 'aria-checked="true"' in again.text


async def test_a_withdrawal_says_that_nothing_more_is_sent(town, claire):
    async with town.visitor(claire) as visitor:
        await said(visitor, CANTEEN, "give")
        receipt = await visitor.get((await said(visitor, CANTEEN, "withdraw")).headers["location"])
    assert "plus rien n’est envoyé" in receipt.text
    assert "<title>Vous avez retiré votre oui" in receipt.text


async def test_an_objection_pauses_a_public_task(town, claire):
    async with town.visitor(claire) as visitor:
        await said(visitor, BINS, "object")
        shown = (await visitor.get("/mes-partages")).text
    assert "Vous vous êtes opposé. Le partage est arrêté." in shown


async def test_the_law_leaves_no_button(town, claire):
    async with town.visitor(claire) as visitor:
        shown = (await visitor.get("/mes-partages/accord/move-tax")).text
    assert "Il n’y a donc pas de bouton." in shown
    assert 'name="dire"' not in shown


async def test_sending_a_form_twice_says_it_once(town, claire):
    async with town.visitor(claire) as visitor:
        shown = await visitor.get(f"/mes-partages/accord/{CANTEEN}")
        first = await visitor.post(f"/mes-partages/accord/{CANTEEN}", data=fields(shown))
        second = await visitor.post(f"/mes-partages/accord/{CANTEEN}", data=fields(shown))
    assert first.headers["location"] == second.headers["location"]


async def test_another_tab_that_is_behind_changes_nothing_and_shows_how_it_is_now(town, claire):
    async with town.visitor(claire) as visitor:
        old = await visitor.get(f"/mes-partages/accord/{BINS}")
        await said(visitor, CANTEEN, "give")
        answer = await visitor.post(f"/mes-partages/accord/{BINS}", data=fields(old, "object"))
    assert answer.status_code == 409
    assert "Vos choix ont changé entre-temps" in answer.text


async def test_the_history_says_who_received_what_and_why_with_its_proof(town, claire):
    flows = [flow.id for flow in town.told.flows]
    async with town.visitor(claire) as visitor:
        await said(visitor, CANTEEN, "give")
        ids = town.told.decide(claire.pseudonym.hex(), flow=flows.index("move.cleanliness"), count=30)
        shown = (await visitor.get("/historique")).text
        assert shown.count('role="rowheader"') == 25
        assert "suite=" in shown
        proof = await visitor.get(f"/historique/preuve/{ids[0]}")
    assert proof.text.startswith("c2sp.org/tlog-proof@v1")
    assert "attachment" in proof.headers["content-disposition"]


async def test_a_filter_that_finds_nothing_says_so(town, claire):
    async with town.visitor(claire) as visitor:
        shown = (await visitor.get("/historique?vers=roads&resultat=deny&du=2026-01-01&au=2026-12-31")).text
    assert "Rien à montrer" in shown
    assert '<option value="roads" selected>' in shown


async def test_a_form_without_its_token_says_nothing(town, claire):
    async with town.visitor(claire) as visitor:
        shown = await visitor.get(f"/mes-partages/accord/{CANTEEN}")
        answer = await visitor.post(f"/mes-partages/accord/{CANTEEN}", data={**fields(shown), FORM_TOKEN: "00"})
        assert answer.status_code == 403
        assert 'aria-checked="true"' not in (await visitor.get("/mes-partages")).text
    assert form_token(shown)


async def test_nobody_reads_somebody_elses_sharings(town, claire):
    other = await town.citizen("Autre")
    async with town.visitor(claire) as visitor:
        answer = await visitor.get(f"/mes-partages/pour/{other.pseudonym.hex()}")
    assert answer.status_code in (403, 404)


async def test_what_is_open_for_ones_life_is_not_said_to_be_closed(town, claire):
    await opened(town, "Morel")
    async with town.visitor(claire) as visitor:
        shown = (await visitor.get("/mes-partages/accord/heat-plan")).text
        assert "Une urgence a été déclarée. L’envoi est ouvert jusqu’au 2 mai 2026" in shown
        assert "Rien ne passe, sauf si une vie" not in shown


async def test_whoever_signs_in_again_sees_what_would_be_sent(town, claire):
    async with town.visitor(claire) as visitor:
        sent = fields(await visitor.get(f"/mes-partages/accord/{CANTEEN}"))
        visitor.cookies.delete("session")
        away = await visitor.post(f"/mes-partages/accord/{CANTEEN}", data=sent)
        assert "/connexion" in away.headers["location"]
        visitor.cookies.set("session", town.session(claire))
        shown = await visitor.get("/reprendre")
    assert "<p>Tarif de cantine\u00a0: <strong>Je suis d’accord</strong></p>" in shown.text
