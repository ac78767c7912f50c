"""`passerelle web`: the city's pages. Composition root: the one place that puts their real parts together."""

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from passerelle.cli.options import ConsentUrl
from passerelle.config import WEB_PORT

if TYPE_CHECKING:
    import aiohttp
    import httpx

    from passerelle.city.manifest import Manifest
    from passerelle.config import Settings
    from passerelle.issuer import Bearing
    from passerelle.replaying import Desk
    from passerelle.settling import Settled
    from passerelle.web.control.watch import Watched
    from passerelle.web.site import Site
    from passerelle_consent.wire import Cause

    Act = Callable[[Desk, str, str, Cause], Settled]

COMPONENT = "web"

app = typer.Typer(
    help="The city's pages: citizens, consultations, register, audit, control room.", no_args_is_help=True
)


@app.command()
def serve(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 finds a free one.")] = WEB_PORT,
    public_url: Annotated[
        str | None,
        typer.Option(envvar="PASSERELLE_WEB_URL", help="Where browsers find it [http://127.0.0.1:<port>]."),
    ] = None,
    consent_url: ConsentUrl,
) -> None:
    """Serve the pages over HTTP until SIGTERM. `keys/web.json` says where people sign in."""
    import asyncio

    import uvloop

    from passerelle.cli.serving import listen
    from passerelle.config import settings
    from passerelle.telemetry import configure

    configure(COMPONENT)
    with listen(host, port) as listening, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings(), listening, public_url, consent_url))


async def _serve(here: "Settings", listening: socket.socket, public_url: str | None, consent_url: str) -> None:
    import httpx

    from passerelle.city.manifest import Manifest
    from passerelle.cli.serving import serve as serve_until_told
    from passerelle.cli.serving import server, settle
    from passerelle.web.app import make_app
    from passerelle.web.audit.alarms import MonitorFiles
    from passerelle.web.rendering import compile_all
    from passerelle.web.service import connections

    manifest = Manifest.load(here.manifest_path)
    public_url = public_url or f"http://127.0.0.1:{listening.getsockname()[1]}"
    async with connections(consent_url) as consent, httpx.AsyncClient() as providers:
        public_url = public_url.rstrip("/")
        site = _site(here, manifest, public_url, consent_url=consent_url, consent=consent, providers=providers)
        with _control_room(here, manifest, consent_url) as extras:
            site.extras.update(extras)
            site.extras[MonitorFiles] = MonitorFiles(state=here.home.monitor_state, alarms=here.home.monitor_alarms)
            application = make_app(site)
            compile_all()
            settle()
            await serve_until_told(server(application), listening, COMPONENT)


def _site(
    here: "Settings",
    manifest: "Manifest",
    public_url: str,
    *,
    consent_url: str,
    consent: "aiohttp.ClientSession",
    providers: "httpx.AsyncClient",
) -> "Site":
    import time
    from zoneinfo import ZoneInfo

    from passerelle.issuer import LocalIssuer
    from passerelle.web.assets import Assets
    from passerelle.web.service import ConsentService
    from passerelle.web.sessions import Audience, Sessions
    from passerelle.web.signing_in.identity import PIVOT_SCOPES
    from passerelle.web.signing_in.kept import Kept
    from passerelle.web.signing_in.provider import Client, Provider, clients
    from passerelle.web.site import Site
    from passerelle_schemas.faults import Fault

    if manifest.desk is None:
        hint = "desk: <department> names the one through whose pages citizens speak"
        raise Fault("the manifest has no desk", where=str(manifest.path), hint=hint)

    def clock() -> int:
        return time.time_ns() // 1_000_000

    file = here.home.web_clients
    scopes = {Audience.CITIZEN: PIVOT_SCOPES, Audience.STAFF: ("profile",)}
    found = clients(file)
    return Site(
        city=manifest.controller.name,
        departments={d.id: d.name for d in manifest.departments},
        desk=manifest.desk,
        dpo=manifest.controller.dpo,
        authority=(manifest.controller.authority.name, manifest.controller.authority.url),
        origin=manifest.origin,
        public_url=public_url,
        # On loopback the public name is nobody's: there the commands on the pages name the service itself.
        log_url=manifest.controller.consent if public_url.startswith("https://") else consent_url,
        zone=ZoneInfo(manifest.timezone),
        policy=manifest.policy_bundle(),
        consent=ConsentService(consent, LocalIssuer(here.home, manifest).mint),
        sessions=Sessions(clock),
        kept=Kept(clock),
        providers={
            audience: Provider(Client.of(file, audience.value, found[audience.value], scopes[audience]), providers)
            for audience in Audience
            if audience.value in found
        },
        assets=Assets.load(),
        clock=clock,
        demonstration=manifest.observer,
    )


@contextmanager
def _control_room(here: "Settings", manifest: "Manifest", consent_url: str) -> Iterator["Mapping[type, object]"]:
    """What the control room needs, by type, while the broker is watched from a thread."""
    from functools import partial

    from passerelle.past import opened
    from passerelle.replaying import Asked
    from passerelle.settling import desk, discard, owners, replay
    from passerelle.web.control.room import Room, Settling
    from passerelle.web.control.watch import Watch
    from passerelle.web.control.whatif import WhatIf
    from passerelle_schemas.catalogue import Catalogue

    def settled(act: "Act", owner: str, reference: str, cause: "Cause", teller: "Bearing") -> "Settled":
        at = desk(here, manifest, owner, Asked(consent_url=consent_url), teller=teller)
        return act(at, owner, reference, cause)

    watch = Watch(access=here.access("control-room"), watched=_watched(here, manifest))
    watch.start()
    try:
        yield {
            Room: Room(watch, here.home, owners(manifest)),
            Settling: Settling(replay=partial(settled, replay), discard=partial(settled, discard)),
            WhatIf: WhatIf(manifest=manifest, past=partial(opened, here)),
            Catalogue: manifest.policy_bundle().catalogue,
        }
    finally:
        watch.stop()


def _watched(here: "Settings", manifest: "Manifest") -> "Watched":
    """The topics through which records pass, and who reads which, as the manifest's rights say."""
    from passerelle.city.apply import City
    from passerelle.web.control.watch import Watched
    from passerelle_schemas.topics import DECISIONS, EXCHANGE

    wanted = City(manifest=manifest, home=here.home, admin=here.access("control-room")).wanted()
    passing = {
        name: topic.partitions
        for name, topic in wanted.topics.items()
        if name in (EXCHANGE, DECISIONS) or name.startswith(("outbox.", "inbox.", "agents."))
    }
    groups = {"gate": [EXCHANGE]}
    for app in manifest.agents:
        read = [
            a.name for a in wanted.acls if (a.principal, a.operation, a.resource) == (app.principal, "READ", "TOPIC")
        ]
        groups[app.principal] = sorted(name for name in read if name.startswith("outbox."))
    return Watched(topics=passing, groups=groups)
