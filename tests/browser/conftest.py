"""Chromium before the pages of a town, and a real OpenID provider to sign in at. All of it on loopback, in one loop."""

import asyncio
import json
import os
import secrets
import shutil
import socket
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
import uvicorn
from playwright.async_api import async_playwright

from browser.people import PEOPLE
from passerelle.web.sessions import Audience
from passerelle.web.signing_in.identity import PIVOT_SCOPES
from passerelle.web.signing_in.provider import Client, Provider
from unit.web.town import town as a_town

PROJECT = Path(__file__).parents[2]
PROVIDER = PROJECT / "deploy/identity"
AXE = PROJECT / "services/passerelle/web/assets/node_modules/axe-core/axe.min.js"
SANDBOX_NEEDS_A_USER = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
PHONE, DESKTOP = {"width": 360, "height": 800}, {"width": 1280, "height": 900}


def chromium():
    """Where it is; without it these tests are skipped, and say how to get it."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no Chromium: apt-get install chromium")
    return found


@asynccontextmanager
async def serving(app, port):
    """Serve an application in this loop."""
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, lifespan="off"))
    running = asyncio.create_task(server.serve())
    try:
        while not server.started:  # noqa: ASYNC110 - uvicorn tells of it by this alone
            await asyncio.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        await running


def a_free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@asynccontextmanager
async def identities(folder, site):
    """The provider, with test identities for the pages at an address."""
    if shutil.which("npm") is None:
        pytest.skip("the provider runs on Node.js: apt-get install nodejs npm")
    if not (PROVIDER / "node_modules/oidc-provider").is_dir():
        subprocess.run(["npm", "ci", "--silent"], cwd=PROVIDER, check=True, timeout=120)  # noqa: ASYNC221, S607
    secret = secrets.token_urlsafe(24)
    clients = [
        {"client_id": audience.value, "client_secret": secret, "site": site, "for": kind}
        for audience, kind in ((Audience.CITIZEN, "citizens"), (Audience.STAFF, "staff"))
    ]
    file = folder / "identities.json"
    file.write_text(json.dumps({"audiences": [], "clients": clients, "people": PEOPLE}))
    process = await asyncio.create_subprocess_exec(
        "node", "provider.mjs", str(file), cwd=PROVIDER, stdout=asyncio.subprocess.PIPE
    )
    try:
        issuer = json.loads(await process.stdout.readline())["issuer"]
        asked = {Audience.CITIZEN: (PIVOT_SCOPES, "eidas1"), Audience.STAFF: (("profile",), None)}
        async with httpx.AsyncClient() as http:
            yield {
                audience: Provider(
                    Client(issuer=issuer, client_id=audience.value, client_secret=secret, scopes=scopes, acr=acr), http
                )
                for audience, (scopes, acr) in asked.items()
            }
    finally:
        process.terminate()
        await process.wait()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory):
    """A town whose pages are served: its `site.public_url` is where a browser finds them."""
    folder = tmp_path_factory.mktemp("town")
    port = a_free_port()
    address = f"http://127.0.0.1:{port}"
    async with (
        identities(folder, address) as providers,
        a_town(folder, public_url=address, providers=providers) as town,
        serving(town.app, port),
    ):
        yield town


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser():
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium(), args=SANDBOX_NEEDS_A_USER)
        yield launched
        await launched.close()


@pytest_asyncio.fixture(loop_scope="module", params=[True, False], ids=["with JavaScript", "without JavaScript"])
async def page(browser, served, request):
    """A page of a browser of its own: no cookie of another test is there."""
    context = await browser.new_context(
        java_script_enabled=request.param, viewport=DESKTOP, base_url=served.site.public_url, locale="fr-FR"
    )
    context.set_default_timeout(10_000)
    yield await context.new_page()
    await context.close()


async def sign_in(page, name, *, path="/connexion", staff=False):
    """Sign somebody in through the provider, as a person does."""
    await page.goto(path)
    await page.click(f"main a[href*='/{'staff' if staff else 'citizen'}/commencer']")
    await page.click(f"button[value='{name}']")
    await page.wait_for_selector("header")


async def violations(page):
    """What axe-core finds on a page: rule and place of each."""
    await page.evaluate(AXE.read_text())
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [(v["id"], [n["target"] for n in v["nodes"]]) for v in found["violations"]]
