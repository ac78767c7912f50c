"""Signing in and out through a real OpenID provider, with JavaScript and without."""

import pytest

from browser.conftest import sign_in

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


async def test_a_citizen_signs_in_and_out(served, page):
    await sign_in(page, "claire", path="/connexion?vers=/aide")
    assert page.url == served.site.public_url + "/aide"
    assert await page.inner_text(".p-tools__who") == "Claire MOREL"
    await page.click("text=Se déconnecter")
    await page.click("button[name=logout]")
    await page.wait_for_selector("text=Vous êtes déconnecté")
    await page.goto("/")
    assert "Se connecter" in await page.inner_text(".p-tools__who")


async def test_a_name_with_every_accent_is_greeted(page):
    await sign_in(page, "thea", path="/connexion?vers=/aide")
    assert await page.inner_text(".p-tools__who") == "Théa-Zoë Çelik-Łódź"


async def test_an_auditor_signs_in(page):
    await sign_in(page, "dpo", path="/connexion?vers=/aide", staff=True)
    assert await page.inner_text(".p-tools__who") == "Nadia Lefort"


async def test_who_has_no_right_here_is_not_signed_in(served, page):
    await sign_in(page, "nobody", staff=True)
    assert "La connexion n’a pas marché" in await page.inner_text("h1")
    await page.goto("/")
    assert "Se connecter" in await page.inner_text(".p-tools__who")


async def test_an_answer_that_nobody_asked_for_signs_nobody_in(page):
    await page.goto("/connexion/retour?state=x&code=y")
    assert "La connexion n’a pas marché" in await page.inner_text("h1")
