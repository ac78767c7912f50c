"""The pages of Lutèce over a consent service and a ledger in this process: real policy, real stores, no broker."""

import asyncio
import re
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx

from passerelle.city.manifest import Manifest
from passerelle.cli.serving import listen, server
from passerelle.issuer import Bearing
from passerelle.web.app import make_app
from passerelle.web.assets import Assets
from passerelle.web.service import ConsentService, connections
from passerelle.web.sessions import Audience, Person, Session, Sessions
from passerelle.web.signing_in.kept import Kept
from passerelle.web.site import Site
from passerelle_consent.records.http.rates import Rates
from passerelle_consent.records.http.tokens import Trust
from unit.records import issuer
from unit.records.told import told_city

MANIFEST = Path(__file__).parents[3] / "deploy/city.yaml"
PUBLIC = "http://pages"


@cache
def lutece():
    """The manifest and its policy: read once, they are never changed."""
    manifest = Manifest.load(MANIFEST)
    return manifest, manifest.policy_bundle()


class NoRates(Rates):
    """Nobody is told to come back later: browsers of tests are one address."""

    def address(self, *_args, **_kwargs):
        return {}

    principal = address


def people():
    """Who signs in, by a word: citizens are linked by `Town.citizen`."""
    return {
        "auditor": Bearing(scopes=["auditor"], subject="dpo"),
        "operator": Bearing(scopes=["operator"], subject="on-call"),
        "officer": Bearing(scopes=["officer"], department="civil-registry", subject="registrar"),
    }


class Town:
    """The pages, and what is behind them."""

    def __init__(self, manifest, told, site):
        self.manifest, self.told, self.site = manifest, told, site
        self.app = make_app(site)

    @property
    def city(self):
        return self.told.city

    async def citizen(self, family_name="Durand"):
        """Somebody who is known to the bus: who the consent service is asked for."""
        (pseudonym,) = await self.city.link(family_name)
        return Bearing(
            scopes=["citizen", "guardian"], department=self.manifest.desk, pseudonym=bytes.fromhex(pseudonym)
        )

    def session(self, bearing, *, name="Claire Morel"):
        """Sign somebody in, without a provider; return the cookie."""
        audience = Audience.CITIZEN if bearing.pseudonym else Audience.STAFF
        now = self.site.clock()
        person = Person(audience=audience, name=name, bearing=bearing)
        return self.site.sessions.begin(
            Session(person=person, began_ms=now, seen_ms=now, id_token="", issuer="https://id.test", subject="1")
        )

    def visitor(self, bearing=None, **more):
        """A browser without JavaScript; of somebody who is signed in if a bearing is given."""
        cookies = {"session": self.session(bearing, **more)} if bearing else {}
        transport = httpx.ASGITransport(app=self.app)
        return httpx.AsyncClient(transport=transport, base_url=PUBLIC, cookies=cookies)


@asynccontextmanager
async def reached(app):
    """Serve an application on loopback, as in a city; give connections to it."""
    socket, running = listen("127.0.0.1", 0), server(app)
    serving = asyncio.create_task(running.serve([socket]))
    try:
        async with connections(f"http://127.0.0.1:{socket.getsockname()[1]}") as http:
            yield http
    finally:
        running.should_exit = True
        await serving


@asynccontextmanager
async def town(folder, *, public_url=PUBLIC, providers=None, bundle=None):
    """Bring the town up in a folder, and down again. ``bundle``: another policy than Lutèce's."""
    manifest, own = lutece()
    bundle = bundle or own
    told = told_city(
        f"sqlite:///{folder}/consent.db",
        None,
        folder / "ledger",
        bundle=bundle,
        flows=bundle.flows,
        catalogue=bundle.catalogue,
        trust=Trust(issuer=issuer.ISSUER, audience=issuer.AUDIENCE, departments=frozenset(manifest.department_ids)),
    )
    city = told.city
    city.rates = NoRates(city.clock)
    await city.up()

    def mint(who):
        said = {"scope": " ".join(who.scopes), "department": who.department}
        pseudonym = who.pseudonym and who.pseudonym.hex()
        return issuer.sign(issuer.claims(city.clock.now_ms, pseudonym=pseudonym, sub=who.sub, **said))

    clock = city.clock
    try:
        async with reached(city.app) as http:
            site = Site(
                city=manifest.controller.name,
                departments={d.id: d.name for d in manifest.departments},
                desk=manifest.desk,
                dpo=manifest.controller.dpo,
                authority=(manifest.controller.authority.name, manifest.controller.authority.url),
                origin=manifest.origin,
                public_url=public_url,
                log_url="http://consent",
                zone=ZoneInfo(manifest.timezone),
                policy=city.bundle,
                consent=ConsentService(http, mint),
                sessions=Sessions(clock),
                kept=Kept(clock),
                providers=providers or {},
                assets=Assets.load(),
                clock=clock,
                demonstration=True,
            )
            yield Town(manifest, told, site)
    finally:
        await city.down()
        city.ledger.close()
        told.town.store.close()


def form_token(shown):
    """The token of the first form of a page."""
    return re.search(r'name="form-token" value="([0-9a-f]+)"', shown.text)[1]
