"""Who is on call sees how things are, and replays what was not taken."""

import pytest

from browser.conftest import sign_in
from browser.test_accessibility import found_on
from unit.web.control_room import ONE_REFERENCE, a_room
from unit.web.town import people

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]
PAGES = ["/controle", "/controle/messages", "/controle/contrats", "/controle/essai?accord=meal-tariff-income@1"]


@pytest.fixture(scope="module")
def room(served, tmp_path_factory):
    return a_room(served, tmp_path_factory.mktemp("room"))


async def test_a_dead_letter_is_replayed(page, room):
    room.done.clear()
    await sign_in(page, "on-call", path="/connexion?vers=/controle", staff=True)
    assert "messages de retard" in await page.inner_text("main")
    await page.click("text=Messages en attente")
    await page.select_option("select[name=cause]", "rule-mended")
    await page.click("main button:has-text('Rejouer')")
    await page.wait_for_selector("text=Rejoué. Le registre en garde la trace.")
    assert [(kind, reference) for kind, _, reference, _, _ in room.done] == [("replay", ONE_REFERENCE)]


async def test_nothing_is_in_anybodys_way(browser, served, room):
    session = {"name": "session", "value": served.session(people()["operator"], name="Yann Kerbrat")}
    assert await found_on(browser, served, PAGES, cookies=[session]) == {}
