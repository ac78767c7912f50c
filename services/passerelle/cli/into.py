"""`passerelle inbox into`: composition root of the tables that an inbox fills."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
import typer

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from passerelle.config import Settings
    from passerelle.receive.postgresql import PostgreSQL
    from passerelle.receive.sqlite import SQLite

_log = structlog.get_logger("inbox")


def database_of(url: str) -> "PostgreSQL | SQLite":
    """Raises `Fault`."""
    from passerelle_schemas.faults import Fault

    if url.startswith("sqlite:///"):
        from passerelle.receive.sqlite import SQLite

        return SQLite(Path(url.removeprefix("sqlite:///")))
    if url.startswith(("postgresql://", "postgresql+psycopg://")):
        from passerelle.receive.postgresql import PostgreSQL

        return PostgreSQL(url)
    raise Fault("the address of a database is postgresql://… or sqlite:///<path>")


def run(department: str, url: str, consent_url: str, *, follow: bool, accept_lost: bool) -> None:
    """Fill the tables until SIGTERM or Ctrl-C. Raises `Fault`."""
    from passerelle.cli.until_told import until_told
    from passerelle.config import settings
    from passerelle.telemetry import configure

    configure("inbox")
    until_told(_run(settings(), department, url, consent_url, follow=follow, accept_lost=accept_lost))


async def _run(
    here: "Settings", department: str, url: str, consent_url: str, *, follow: bool, accept_lost: bool
) -> None:
    from passerelle.city.manifest import Manifest
    from passerelle.cli.inbox import known_department
    from passerelle.issuer import Bearing
    from passerelle.provider import bearer
    from passerelle.publish.producer import DepartmentProducer
    from passerelle.receive.acknowledge import acknowledge
    from passerelle.receive.burying import Burying, writing
    from passerelle.receive.into import COMPONENT, InboxTables
    from passerelle.receive.retention import delete_by
    from passerelle.receive.tidying import Tidying
    from passerelle.receive.transactional import TransactionalInbox

    manifest = Manifest.load(here.manifest_path)
    known_department(department, set(manifest.department_ids))
    policy = manifest.policy_bundle()
    auth = bearer(here, manifest, Bearing(scopes=["department"], department=department))
    access = here.access(department)
    database: Any = database_of(url)
    try:
        async with (
            DepartmentProducer(access, department, policy.catalogue) as producer,
            TransactionalInbox(access, department, policy.catalogue, database, accept_lost=accept_lost) as inbox,
        ):
            burying = Burying(COMPONENT, department, writing(producer, department))
            tables = InboxTables(database, burying, delete_by(policy))

            async def tell(erasure: bytes) -> None:
                await asyncio.to_thread(acknowledge, consent_url, auth, erasure)

            tidying = Tidying(tables, tell, lambda: datetime.now(UTC))
            _log.info("ready", department=department)
            try:
                await _beside(tidying.for_ever(), inbox.apply(tables.put, on_erased=tables.erase, follow=follow))
                await tidying.once()
            finally:
                typer.echo(f"{inbox.counts.applied} applied, {burying.count} dead letters")
    finally:
        await database.close()


async def _beside(other: "Coroutine[Any, Any, None]", main: "Coroutine[Any, Any, int]") -> None:
    """Run ``main`` to its end, and ``other`` beside it; what either raises ends both."""
    tasks = {asyncio.ensure_future(main), asyncio.ensure_future(other)}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
