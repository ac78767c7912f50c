"""What everybody sees, in a browser: the register is searched and a consultation heard, with JavaScript and without."""

import pytest

from browser.conftest import sign_in
from browser.test_accessibility import found_on
from unit.web.consulting import ID, OFFICER, a_consultation, argue

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

PAGE = f"/consultations/{ID}"


@pytest.fixture(scope="module")
def sessions():
    """Of whom there is one in the town, by a word."""
    return {}


@pytest.fixture(autouse=True, scope="module")
async def consulted(served, sessions):
    """The town, with an open consultation, an argument that is shown and one that waits, and counts."""
    await a_consultation(served)
    neighbour = await served.citizen("Petit")
    await argue(served, neighbour, "Une lettre suffit.", side="for", published=True)
    await argue(served, neighbour, "Deux ans, c’est long.")
    flows = [flow.id for flow in served.told.flows]
    served.told.decide(neighbour.pseudonym.hex(), flow=flows.index("move.tax"), count=40)
    served.told.index_all()
    sessions |= {"citizen": served.session(await served.citizen()), "officer": served.session(OFFICER)}
    return served


async def test_the_register_is_searched(page):
    await page.goto("/registre")
    await page.fill("#q", "cantine")
    await page.select_option("#service", "tax")
    await page.click("text=Chercher >> visible=true")
    await page.wait_for_url("**service=tax**")
    await page.wait_for_selector("text=1 accord trouvé")
    assert await page.locator("#liste tbody tr").count() == 1
    await page.click("#liste tbody a")
    await page.wait_for_selector("h2:has-text('Ce que dit l’accord')")


async def test_a_citizen_is_heard(served, page):
    """A voice is given, changed and taken back; an argument is proposed, and shown once an officer has read it."""
    await sign_in(page, "claire", path=f"/connexion?vers={PAGE}")
    for button, told in (
        ("soutenir", "C’est noté : vous soutenez ce projet."),
        ("opposer", "C’est noté : vous êtes contre ce projet."),
        ("retirer", "C’est noté : votre avis est retiré."),
    ):
        await page.click(f"#avis button[value={button}]")
        await page.wait_for_selector(f"#avis [role=status]:has-text('{told}')")
    assert await page.locator("#avis button[value=retirer]").count() == 0
    text = f"Un an suffit, dit {'le script' if await page.evaluate('Boolean(window.htmx)') else 'la page'}."
    await page.check("#cote-contre")
    await page.fill("#argument", text)
    await page.click("text=Envoyer mon argument")
    await page.wait_for_selector("#avis [role=status]:has-text('Votre argument est envoyé.')")
    assert text not in await page.inner_text("#arguments")

    session = {"name": "session", "value": served.session(OFFICER), "url": served.site.public_url}
    await page.context.add_cookies([session])
    await page.goto(f"{PAGE}/moderation")
    await page.click(f"article:has-text('{text}') button[value=published]")
    await page.wait_for_selector("text=L’argument est publié.")
    served.site.consent._public.clear()  # as some seconds later
    await page.goto(PAGE)
    assert text in await page.inner_text("#arguments")


async def test_axe_finds_nothing(browser, served, sessions):
    public = ["/registre", "/registre/meal-tariff-income/1", "/consultations"]
    assert await found_on(browser, served, public) == {}
    for who, path in (("citizen", PAGE), ("officer", f"{PAGE}/moderation")):
        cookies = [{"name": "session", "value": sessions[who]}]
        assert await found_on(browser, served, [path], cookies=cookies) == {}
