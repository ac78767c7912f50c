"""A citizen's afternoon: yes, no, an objection, and what proves it; with JavaScript and without."""

import re

import pytest

from browser.conftest import sign_in
from browser.test_accessibility import found_on
from unit.web.test_citizen import said

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]
CANTEEN = "/mes-partages/accord/meal-tariff-income"


async def test_a_yes_and_its_withdrawal(page):
    await sign_in(page, "claire", path=f"/connexion?vers={CANTEEN}")
    switch = page.get_by_role("switch")
    if await switch.get_attribute("aria-checked") == "false":
        await switch.click()
        await page.wait_for_selector("text=Votre réponse est enregistrée")
        assert (await page.title()).startswith("Vous avez dit oui") or await page.is_visible("text=Vous avez dit oui")
        await page.goto(CANTEEN)
    await page.get_by_role("switch").click()
    await page.wait_for_selector("text=plus rien n’est envoyé")
    instant = await page.inner_text(".p-ack__instant")
    assert re.search(r"\d\d:\d\d:\d\d,\d{3}$", instant)
    async with page.expect_download() as waited:
        await page.click("text=Télécharger le reçu (PDF)")
    assert (await waited.value).suggested_filename.endswith(".pdf")


async def test_an_objection(page):
    await sign_in(page, "thea", path="/connexion?vers=/mes-partages/accord/move-cleanliness")
    if await page.is_visible("text=M’opposer à ce partage"):
        await page.click("summary:has-text('M’opposer à ce partage')")
        await page.click("button:has-text('M’opposer')")
        await page.wait_for_selector("text=Vous vous êtes opposé")
    await page.goto("/mes-partages")
    assert await page.is_visible("text=Le partage est arrêté.")


async def test_nothing_is_in_anybodys_way(browser, served):
    bearing = await served.citizen("Morel")
    flows = [flow.id for flow in served.told.flows]
    served.told.decide(bearing.pseudonym.hex(), flow=flows.index("move.cleanliness"), count=3)
    async with served.visitor(bearing) as visitor:
        receipt = (await said(visitor, "meal-tariff-income", "give")).headers["location"]
    session = {"name": "session", "value": served.session(bearing)}
    paths = [
        "/mes-partages",
        CANTEEN,
        receipt,
        "/mes-partages/accord/move-tax",
        "/historique",
        "/historique?resultat=deny",
    ]
    assert await found_on(browser, served, paths, cookies=[session]) == {}
