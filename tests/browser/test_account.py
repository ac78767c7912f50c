"""The account in a browser, with JavaScript and without; a guardian; an officer; and axe on all of these pages."""

import zipfile

import pytest

from browser.conftest import sign_in
from browser.test_accessibility import found_on
from unit.records.fakes import until
from unit.web.people import SECOND, child, family, linked, opened
from unit.web.test_office import objected, officer
from unit.web.town import people

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


async def signed_in(page, served, who, **more):
    """Sign somebody in without the provider."""
    cookie = {"name": "session", "value": served.session(who, **more), "url": served.site.public_url}
    await page.context.add_cookies([cookie])


async def test_a_restriction_is_asked_for_and_lifted_by_keyboard_alone(served, page):
    await signed_in(page, served, await served.citizen("Limite"))
    await page.goto("/compte/limitation")
    await page.focus("#motif-1")
    await page.keyboard.press("Space")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("text=Limitation enregistrée")
    await page.reload()
    await page.click("main button")
    await page.wait_for_selector("text=Limitation levée")


async def test_a_copy_is_downloaded(served, page, tmp_path):
    await signed_in(page, served, await served.citizen("Copie"))
    await page.goto("/compte/copie")
    async with page.expect_download() as downloading:
        await page.click("text=Télécharger")
    copy = await downloading.value
    await copy.save_as(tmp_path / copy.suggested_filename)
    with zipfile.ZipFile(tmp_path / "passerelle.zip") as folder:
        assert "passerelle-export-1.jws" in folder.namelist()


async def test_whoever_erases_everything_says_so_twice_and_is_signed_out_everywhere(served, page):
    await sign_in(page, "claire", path="/connexion?vers=/compte/effacement")
    await page.click("text=Tout effacer maintenant")
    await page.wait_for_selector("text=Il manque une réponse")
    await page.check("#compris")
    await page.click("text=Tout effacer maintenant")
    await page.wait_for_selector("text=C’est effacé")
    await page.click("text=Terminer la connexion là-bas aussi")
    await page.click("button[name=logout]")
    await page.wait_for_selector("text=Vous êtes déconnecté")
    await page.goto("/compte")
    assert "/connexion" in page.url


async def test_a_guardian_names_a_child_for_this_session_and_goes_to_their_pages(served, page):
    kid, mother, _ = await family(served)
    await signed_in(page, served, mother)
    await page.goto("/compte")
    await page.click("text=Enfant, 8 ans")
    await page.click("text=Vos proches")
    await page.fill("#nom-1", "Inès")
    await page.click("text=Utiliser ce nom")
    await page.wait_for_selector("h2:has-text('Inès')")
    await page.goto("/historique/lecteurs")
    await page.click(".p-tabs a:has-text('Inès')")
    assert page.url.endswith(f"/mes-partages/pour/{kid}/lecteurs")
    assert "Qui a regardé\u00a0: Inès" in await page.inner_text("h1")


async def test_accessibility_of_a_citizens_account(browser, served):
    who = await served.citizen("Visible")
    await opened(served, "Visible")
    cookies = [{"name": "session", "value": served.session(who)}]
    paths = ["/compte", "/compte/limitation", "/compte/effacement", "/compte/copie", "/compte/proches"]
    assert await found_on(browser, served, [*paths, "/historique/lecteurs"], cookies=cookies) == {}


async def test_accessibility_of_a_guardians_pages_and_of_the_office(browser, served):
    kid, mother, _ = await family(served)
    cookies = [{"name": "session", "value": served.session(mother)}]
    async with served.visitor(mother) as visitor:
        await visitor.get(f"/compte/proches/{kid}")
    await until(lambda: any(e.reader == "guardian" for e in served.city.broker.journal()))
    served.told.integrate()
    served.told.index_all()
    paths = ["/compte/proches", f"/compte/proches/{kid}", f"/mes-partages/pour/{kid}/lecteurs"]
    assert await found_on(browser, served, paths, cookies=cookies) == {}
    await served.citizen("Urgence")
    await opened(served, "Urgence")
    await objected(served, "move-cleanliness")
    cookies = [{"name": "session", "value": served.session(officer(SECOND))}]
    assert await found_on(browser, served, ["/agents", "/agents/representants"], cookies=cookies) == {}
    kid = await linked(served, "civil-registry", child())
    cookies = [{"name": "session", "value": served.session(people()["officer"])}]
    assert await found_on(browser, served, [f"/agents/representants/fin?personne={kid}"], cookies=cookies) == {}
