"""Serve a large town: the consent service and the pages, each in a process of its own, on HTTP, as in a city.

Real are both applications, their server's settings, the tokens that one mints and the other checks, PostgreSQL and the
ledger's files. Played are the bus and its gate (`unit.records.fakes`): pages are read here, and nothing passes.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import httpx
import uvloop

from bench.large.folder import VISITORS, Place, pseudonym_of
from faults.founded import MANIFEST
from passerelle.audited import FolderLog
from passerelle.city.manifest import Manifest
from passerelle.cli.serving import listen, server, settle
from passerelle.cli.web import _site
from passerelle.config import Home, Settings
from passerelle.disclosed import LedgerEntries
from passerelle.issuer import Bearing, LocalIssuer
from passerelle.telemetry import configure
from passerelle.web.app import make_app
from passerelle.web.rendering import compile_all
from passerelle.web.service import connections
from passerelle.web.sessions import Audience, Person, Session
from passerelle_consent.records.http.keys import FixedKeys
from passerelle_consent.records.http.tokens import Tokens, Trust
from unit.ledger.fakes import MASTERS
from unit.records.fakes import City, citizen
from unit.web import consulting
from unit.web.control_room import a_room
from unit.web.town import NoRates, lutece

SAID = ("meal-tariff-income", "move-schools", "street-contact-roads")
ARGUMENTS = 40


@dataclass
class Clock:
    """The time of day, or some while before."""

    ago_ms: int = 0

    @property
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 - self.ago_ms

    def __call__(self) -> int:
        return self.now_ms


def settings(place: Place) -> Settings:
    return Settings(home=Home(root=place.folder / "home"), manifest_path=MANIFEST)


@contextlib.asynccontextmanager
async def city(place: Place, *, first_id: int) -> AsyncIterator[City]:
    """The consent service. ``first_id``: ids of earlier runs are below it."""
    _, bundle = lutece()
    clock = Clock()
    up = City(
        place.database("consent"),
        bundle=bundle,
        clock=clock,
        ledger=LedgerEntries(place.database("ledger"), MASTERS, place.ledger),
        log=FolderLog(place.ledger, place.index, place.folder / "witnesses.policy"),
        rates=NoRates(clock),
    )
    for _ in range(first_id):
        next(up.ids)
    await up.up()
    yield up
    await up.down()
    up.ledger.close()


async def say(place: Place) -> None:
    """What citizens say over the API, so that pages have something to show: yes and no, and a consultation."""
    async with city(place, first_id=0) as up:
        desk = lutece()[0].desk
        up.clock.ago_ms = 2 * consulting.DAY_MS
        asked = consulting.draft(SimpleNamespace(city=up))
        days = [time.gmtime((up.clock.now_ms + n * consulting.DAY_MS) / 1000) for n in (1, 31)]
        opens, closes = (time.strftime("%Y-%m-%dT00:00:00Z", day) for day in days)
        body = {
            "draft": asked,
            "question": consulting.QUESTION,
            "arguments_for": [{"fr": "Vous n’apportez plus de papiers.", "en": "You bring no more papers."}],
            "arguments_against": [{"fr": "La ville garde un fichier de plus.", "en": "The city keeps one more file."}],
            "opens": opens,
            "closes": closes,
        }
        answer = await up.call("PUT", consulting.PATH, body, consulting.TAX)
        assert answer.status_code == 200, answer.text
        up.clock.ago_ms = 0
        for n in range(VISITORS):
            who = pseudonym_of(n, desk).hex()
            for agreement in SAID[: 1 + n % 3]:
                for word in ("give", "withdraw")[: 1 + n % 2]:
                    answer = await up.say(word, who, agreement)
                    assert answer.status_code in (200, 202, 403, 409), answer.text
            if n < ARGUMENTS:
                said = {
                    "side": ("for", "against")[n % 2],
                    "language": "fr",
                    "text": f"Pour la famille n° {n}, c’est utile.",
                }
                told = await up.call("POST", f"{consulting.PATH}/arguments", said, citizen(who))
                ruling = {"ruling": "published"}
                await up.call("PUT", f"{consulting.PATH}/arguments/{told.json()['n']}/ruling", ruling, consulting.TAX)


async def consent(place: Place, port: int) -> None:
    manifest, _ = lutece()
    local = LocalIssuer(settings(place).home, manifest)
    async with city(place, first_id=1_000_000) as up:
        trust = Trust(
            issuer=manifest.identity.issuer,
            audience=manifest.identity.audience,
            departments=frozenset(manifest.department_ids),
        )
        up.app.state.authenticate = Tokens(FixedKeys(local.jwks), trust, up.clock)
        await until_told(up.app, port, {})


async def web(place: Place, port: int, consent_url: str) -> None:
    manifest = Manifest.load(MANIFEST)
    async with connections(consent_url) as asked, httpx.AsyncClient() as providers:
        address = f"http://127.0.0.1:{port}"
        site = _site(settings(place), manifest, address, consent_url=consent_url, consent=asked, providers=providers)
        a_room(SimpleNamespace(site=site, manifest=manifest), place.folder)
        scopes = ["citizen", "guardian"]
        citizens = [
            Bearing(scopes=scopes, department=manifest.desk, pseudonym=pseudonym_of(n, manifest.desk))
            for n in range(VISITORS)
        ]
        office = {
            "auditor": Bearing(scopes=["auditor"], subject="dpo"),
            "operator": Bearing(scopes=["operator"], subject="on-call"),
            "officer": Bearing(scopes=["officer"], department="civil-registry", subject="registrar"),
        }
        cookies = {
            "citizen": [session(site, who, Audience.CITIZEN) for who in citizens],
            **{name: [session(site, who, Audience.STAFF)] for name, who in office.items()},
        }
        application = make_app(site)
        compile_all()  # as the command does
        await until_told(application, port, cookies)


def session(site, bearing: Bearing, audience: Audience) -> str:
    now = site.clock()
    person = Person(audience=audience, name="Claire Morel", bearing=bearing)
    return site.sessions.begin(
        Session(person=person, began_ms=now, seen_ms=now, id_token="", issuer="https://id.test", subject="1")
    )


async def bare(port: int) -> None:
    """The peer: a page that says hello."""
    from fastapi import FastAPI
    from starlette.responses import HTMLResponse

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.get("/")
    async def hello() -> HTMLResponse:
        return HTMLResponse("<!doctype html><title>Bonjour</title><p>Bonjour")

    await until_told(app, port, {})


async def until_told(app, port: int, said: object) -> None:
    """Serve until SIGTERM; say when it is ready."""
    settle()
    serving = server(app)
    running = asyncio.create_task(serving.serve([listen("127.0.0.1", port)]))
    while not serving.started:  # noqa: ASYNC110 - uvicorn tells of it by this alone
        await asyncio.sleep(0.01)
    print(json.dumps(said), flush=True)
    await running


def main() -> None:
    what, folder, socket, port, *rest = sys.argv[1:]
    configure(what)
    place = Place(folder=Path(folder), server=socket)
    made: dict[str, Callable[..., Awaitable[None]]] = {
        "consent": lambda: consent(place, int(port)),
        "web": lambda: web(place, int(port), *rest),
        "bare": lambda: bare(int(port)),
        "say": lambda: say(place),
    }
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(made[what]())


if __name__ == "__main__":
    main()
