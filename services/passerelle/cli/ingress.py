"""`passerelle publish http`: a department's events over HTTP. Composition root of the ingress."""

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from passerelle.config import Settings

COMPONENT = "ingress"


def run(department: str, host: str, port: int) -> None:
    """Serve until SIGTERM."""
    import asyncio

    import uvloop

    from passerelle.cli.serving import listen
    from passerelle.config import settings
    from passerelle.telemetry import configure

    configure(COMPONENT)
    with listen(host, port) as listening, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings(), department, listening))


async def _serve(here: "Settings", department: str, listening: socket.socket) -> None:
    import time
    from datetime import UTC, datetime

    from passerelle.city.manifest import Manifest
    from passerelle.cli.consent import authenticator
    from passerelle.cli.inbox import known_department
    from passerelle.cli.serving import serve, server
    from passerelle.external_registry.agree import require
    from passerelle.publish.ingress import Ingress, make_app
    from passerelle.publish.producer import DepartmentProducer
    from passerelle.publish.repeats import Repeats
    from passerelle_consent.records.http.rates import Rates

    def clock() -> int:
        return time.time_ns() // 1_000_000

    manifest = Manifest.load(here.manifest_path)
    known_department(department, set(manifest.department_ids))
    catalogue = manifest.policy_bundle().catalogue
    require(here.registry, catalogue)
    here.home.store.mkdir(parents=True, exist_ok=True)
    repeats = Repeats(here.home.store / f"ingress-{department}.sqlite")
    try:
        async with DepartmentProducer(here.access(department), department, catalogue) as producer:
            ingress = Ingress(
                department=department,
                catalogue=catalogue,
                producer=producer,
                repeats=repeats,
                now=lambda: datetime.now(UTC),
            )
            application = make_app(ingress, authenticator(manifest, here.home, clock), Rates(clock))
            await serve(server(application), listening, COMPONENT)
    finally:
        repeats.close()
