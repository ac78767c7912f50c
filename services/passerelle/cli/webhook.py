"""`passerelle inbox webhook`: composition root of the webhook."""

import asyncio
import re
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from passerelle.config import Settings

# Plain HTTP only to this machine: the body holds a person's data.
URL = re.compile(r"(https://|http://(localhost|127\.0\.0\.1|\[::1\])[:/])[\x21-\x7e]+")


def secret_of(here: "Settings", department: str) -> bytes:
    """Return the department's signing secret, made at first use. Raises `KeyFault`."""
    from passerelle.keys import key_bytes
    from passerelle.receive.signing import SECRET_BYTES

    return key_bytes(here.home.keys, f"webhooks/{department}", SECRET_BYTES)


def checked_url(url: str) -> str:
    """Return an address that a person's data may be sent to. Raises `Fault`."""
    from passerelle_schemas.faults import Fault

    if not URL.fullmatch(url):
        raise Fault("a webhook's address is https://…, or http:// to this machine")
    return url


def run(department: str, url: str, consent_url: str, *, follow: bool) -> None:
    """Hand deliveries on until SIGTERM or Ctrl-C. Raises `Fault`."""
    from passerelle.cli.until_told import until_told
    from passerelle.config import settings
    from passerelle.telemetry import configure

    checked_url(url)
    configure("webhook")
    until_told(_run(settings(), department, url, consent_url, follow=follow))


async def _run(here: "Settings", department: str, url: str, consent_url: str, *, follow: bool) -> None:
    import httpx
    import structlog

    from passerelle.city.manifest import Manifest
    from passerelle.cli.inbox import known_department
    from passerelle.issuer import Bearing
    from passerelle.provider import bearer
    from passerelle.publish.producer import DepartmentProducer
    from passerelle.receive.burying import Burying, writing
    from passerelle.receive.inbox import InboxReader
    from passerelle.receive.recheck import Recheck
    from passerelle.receive.retention import delete_by
    from passerelle.receive.webhook import COMPONENT, Receiver, Webhook, utc_now

    manifest = Manifest.load(here.manifest_path)
    known_department(department, set(manifest.department_ids))
    policy = manifest.policy_bundle()
    auth = bearer(here, manifest, Bearing(scopes=["department"], department=department))

    async with (
        httpx.AsyncClient(base_url=consent_url, auth=auth) as consent,
        # Nothing of the environment: a proxy or a .netrc would see, or add, what is between these two alone.
        httpx.AsyncClient(follow_redirects=False, trust_env=False) as http,
        DepartmentProducer(here.access(department), department, policy.catalogue) as producer,
        InboxReader(here.access(department), department, policy.catalogue) as reader,
    ):
        burying = Burying(COMPONENT, department, writing(producer, department))
        receiver = Receiver(url=url, secret=secret_of(here, department), client=http, now=utc_now)
        recheck = Recheck(client=consent)
        webhook = Webhook(receiver, recheck, burying, pause=asyncio.sleep, delete_by=delete_by(policy))
        structlog.get_logger("webhook").info("ready", department=department)
        try:
            await reader.handle(webhook.deliver, on_erased=webhook.tell, follow=follow)
        finally:
            counts = webhook.counts
            typer.echo(f"{counts.sent} sent, {counts.withdrawn} no longer allowed, {burying.count} dead letters")
