"""A citizen takes a yes back by the switch on the page while events run through a real city: then nothing arrives."""

import asyncio
import threading
import time
from zoneinfo import ZoneInfo

import pytest

from browser.conftest import a_free_port, serving
from faults.run import broker_and_city
from faults.whole_city import Published, whole_city
from integration.test_canary import MOVES, linked
from passerelle.issuer import Bearing, LocalIssuer
from passerelle.web.app import make_app
from passerelle.web.assets import Assets
from passerelle.web.service import ConsentService, connections
from passerelle.web.sessions import Audience, Person, Session, Sessions
from passerelle.web.signing_in.kept import Kept
from passerelle.web.site import Site

pytestmark = [
    pytest.mark.browser,
    pytest.mark.broker,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(240),
]
SHARING = "/mes-partages/accord/move-schools"
BEFORE, AT_ONCE, AFTER = 5, 10, 10
A_SECOND = 20


def now_ms():
    return time.time_ns() // 1_000_000


def a_site(ground, consent, address):
    """The pages over the real consent service; one signs in by hand, since no provider knows this person."""
    manifest = ground.manifest
    return Site(
        city=manifest.controller.name,
        departments={d.id: d.name for d in manifest.departments},
        desk=manifest.desk,
        dpo=manifest.controller.dpo,
        authority=(manifest.controller.authority.name, manifest.controller.authority.url),
        origin=manifest.origin,
        public_url=address,
        log_url="http://consent",
        zone=ZoneInfo(manifest.timezone),
        policy=manifest.policy_bundle(),
        consent=ConsentService(consent, LocalIssuer(ground.home, manifest).mint),
        sessions=Sessions(now_ms),
        kept=Kept(now_ms),
        providers={},
        assets=Assets.load(),
        clock=now_ms,
    )


def moved(city, person, count):
    contract = city.catalogue.by_type(MOVES)
    value = contract.decode(contract.encode(contract.example))
    return [Published(type=MOVES, person=person, value=value)] * count


async def test_after_the_instant_on_the_page_nothing_arrives(made, browser):
    port = a_free_port()
    address = f"http://127.0.0.1:{port}"
    with broker_and_city(made) as ground, whole_city(ground) as city:
        person = await asyncio.to_thread(linked, city)
        async with connections(city.portal.url) as consent:
            site = a_site(ground, consent, address)
            bearing = Bearing(scopes=["citizen", "guardian"], department=site.desk, pseudonym=person.pseudonym)
            who = Person(audience=Audience.CITIZEN, name="Claire Morel", bearing=bearing)
            cookie = site.sessions.begin(
                Session(person=who, began_ms=now_ms(), seen_ms=now_ms(), id_token="", issuer="test", subject="1")
            )
            async with serving(make_app(site), port):
                await _live(city, person, browser, address, cookie)


def _publish_until(over, city, person):
    """Publish until told to end; return how many."""
    count = 0
    while not over.is_set():
        city.publish(moved(city, person, AT_ONCE), a_second=A_SECOND)
        count += AT_ONCE
    return count


async def _live(city, person, browser, address, cookie):
    context = await browser.new_context(base_url=address, locale="fr-FR")
    await context.add_cookies([{"name": "session", "value": cookie, "url": address}])
    page = await context.new_page()
    await page.goto(SHARING)
    await page.get_by_role("switch").click()
    await page.wait_for_selector("text=C’est fait.")
    await asyncio.to_thread(city.publish, moved(city, person, BEFORE), a_second=A_SECOND)
    await asyncio.to_thread(city.drain)
    assert len(city.inbox("schools")) == BEFORE, "what was allowed arrives"

    over = threading.Event()
    running = asyncio.create_task(asyncio.to_thread(_publish_until, over, city, person))
    await page.goto(SHARING)
    await page.get_by_role("switch").click()
    await page.wait_for_selector("text=plus rien n’est envoyé")
    at_the_instant = len(await asyncio.to_thread(city.inbox, "schools"))
    over.set()
    assert await running > 0, "traffic ran meanwhile"
    await asyncio.to_thread(city.publish, moved(city, person, AFTER), a_second=A_SECOND)
    await asyncio.to_thread(city.drain)
    assert len(await asyncio.to_thread(city.inbox, "schools")) == at_the_instant
    await context.close()
