"""`passerelle inbox`: read what the gate delivered to a department."""

import asyncio
import json
import re
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from passerelle.cli.options import ConsentUrl
from passerelle_schemas.topics import SUBJECT_ERASED

if TYPE_CHECKING:
    from passerelle.receive.delivery import Delivery, Erased

ERASURE_ID = re.compile("[0-9a-f]{32}")

app = typer.Typer(help="A department's inbox.", no_args_is_help=True)
table = typer.Typer(help="The tables of ours in a department's own database.", no_args_is_help=True)
app.add_typer(table, name="table")


@app.command()
def read(
    *,
    department: Annotated[str, typer.Option("--department", "-d", help="Whose inbox.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more until Ctrl-C.")] = False,
    limit: Annotated[int | None, typer.Option("--max", "-n", min=1, help="Stop after this many.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Print the deliveries and notices of erasure that this department has not read yet, and mark them as read.

    Values are shown: they are the department's own data. Reads as the department, with its credentials.
    """
    hush_libraries()
    count = asyncio.run(_read(department, follow=follow, limit=limit, as_json=as_json))
    Console(stderr=True).print(f"{count} deliveries read from inbox.{department}", highlight=False)


@app.command()
def acknowledge(
    erasure: Annotated[str, typer.Argument(help="The erasure's id, as `read` shows it.", metavar="HEX")],
    *,
    department: Annotated[str, typer.Option("--department", "-d", help="Whose copies are gone.")],
    consent_url: ConsentUrl,
) -> None:
    """Say that this department has erased its copies of a subject, or keeps them for a ground of GDPR Art. 17(3)."""
    from passerelle.city.manifest import Manifest
    from passerelle.config import settings
    from passerelle.issuer import Bearing
    from passerelle.provider import bearer
    from passerelle.receive.acknowledge import acknowledge as tell

    if not ERASURE_ID.fullmatch(erasure):
        raise typer.BadParameter("an erasure's id is 32 hexadecimal digits")
    here = settings()
    manifest = Manifest.load(here.manifest_path)
    known_department(department, set(manifest.department_ids))
    auth = bearer(here, manifest, Bearing(scopes=["department"], department=department))
    since = tell(consent_url, auth, bytes.fromhex(erasure))
    typer.echo(f"{erasure}: acknowledged by {department} since {since}")


@app.command()
def webhook(
    *,
    department: Annotated[str, typer.Option("--department", "-d", help="Whose inbox.")],
    url: Annotated[str, typer.Option(help="Where to: https://…, or http:// to this machine.")],
    consent_url: ConsentUrl,
    once: Annotated[bool, typer.Option("--once", help="End when all that was delivered is handed on.")] = False,
) -> None:
    """Hand every delivery and notice of erasure to an HTTP receiver, as signed CloudEvents, until Ctrl-C.

    What is not taken is tried again, when the citizen's standing still allows it, and becomes a dead letter in the end.
    """
    from passerelle.cli.webhook import run

    hush_libraries()
    run(department, url, consent_url, follow=not once)


@app.command()
def into(
    *,
    department: Annotated[str, typer.Option("--department", "-d", help="Whose inbox.")],
    database: Annotated[
        str,
        typer.Option(
            help="postgresql://<user>@<host>/<database> (the password in PGPASSFILE), or sqlite:///<path>.",
            metavar="URL",
        ),
    ],
    consent_url: ConsentUrl,
    once: Annotated[bool, typer.Option("--once", help="End when all that was delivered is in the tables.")] = False,
    accept_lost: Annotated[
        bool, typer.Option("--accept-lost", help="Go on behind what the inbox deleted before it was read here.")
    ] = False,
) -> None:
    """Keep the tables of `passerelle inbox table ddl --deliveries` filled, exactly once, until SIGTERM or Ctrl-C.

    Deliveries become rows; an erasure deletes a person's rows and leaves a notice; an ended retention deletes its row.
    """
    from passerelle.cli.into import run

    hush_libraries()
    run(department, database, consent_url, follow=not once, accept_lost=accept_lost)


@table.callback()
def _table() -> None:
    """Keep `ddl` a sub-command while it is the only one."""


@table.command()
def ddl(
    *,
    deliveries: Annotated[bool, typer.Option("--deliveries", help="Also the tables that `inbox into` fills.")] = False,
    sqlite: Annotated[bool, typer.Option("--sqlite", help="For SQLite instead of PostgreSQL.")] = False,
) -> None:
    """Print the table `passerelle_inbox`, which keeps how far an inbox was read: `… ddl | psql`."""
    from passerelle.receive.into import DDL_POSTGRESQL, DDL_SQLITE
    from passerelle.receive.positions import DDL, POSTGRESQL_RIGHTS

    typer.echo(DDL if sqlite else DDL + POSTGRESQL_RIGHTS, nl=False)
    if deliveries:
        typer.echo("\n" + (DDL_SQLITE if sqlite else DDL_POSTGRESQL), nl=False)


@app.command("webhook-secret")
def webhook_secret(*, department: Annotated[str, typer.Option("--department", "-d", help="Whose webhook.")]) -> None:
    """Print the secret of a department's webhook for its receiver (`whsec_…`); it is made at first use."""
    from passerelle.city.manifest import Manifest
    from passerelle.cli.webhook import secret_of
    from passerelle.config import settings
    from passerelle.receive.signing import secret_text

    here = settings()
    known_department(department, set(Manifest.load(here.manifest_path).department_ids))
    typer.echo(secret_text(secret_of(here, department)))


async def _read(department: str, *, follow: bool, limit: int | None, as_json: bool) -> int:
    from passerelle.city.manifest import Manifest
    from passerelle.config import settings
    from passerelle.receive.inbox import InboxReader
    from passerelle.receive.retention import delete_by

    here = settings()
    manifest = Manifest.load(here.manifest_path)
    known_department(department, {d.id for d in manifest.departments})
    policy = manifest.policy_bundle()
    until = delete_by(policy)
    console = Console(soft_wrap=True, highlight=False)

    async def show(delivery: "Delivery") -> None:
        if as_json:
            typer.echo(json.dumps(as_object(delivery, until(delivery)), ensure_ascii=False))
        else:
            console.print(as_line(delivery, until(delivery)), markup=False)

    async def tell(erased: "Erased") -> None:
        if as_json:
            typer.echo(json.dumps(notice_as_object(erased), ensure_ascii=False))
        else:
            console.print(notice_as_line(erased), markup=False)

    async with InboxReader(here.access(department), department, policy.catalogue) as reader:
        return await reader.handle(show, on_erased=tell, follow=follow, limit=limit)


def hush_libraries() -> None:
    """Keep aiokafka's own complaints off the terminal: what it could not do becomes one line of ours."""
    import logging

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def known_department(department: str, known: set[str]) -> None:
    """Raise a `Fault` for a department that the manifest does not have, before anything is made for it."""
    from passerelle_schemas.faults import Fault

    if department not in known:
        raise Fault(f"no department {department}", hint=f"departments: {', '.join(sorted(known))}")


def as_object(delivery: "Delivery", by: datetime | None = None) -> dict[str, Any]:
    """Return a delivery as JSON can hold it: ids in hexadecimal, dates and times in ISO 8601.

    ``by``: until when its recipient may keep it.
    """
    return {
        "decision": delivery.decision_id.hex(),
        "flow": delivery.flow,
        "purpose": delivery.purpose,
        "type": delivery.type,
        "event": delivery.event_id,
        "pseudonym": delivery.pseudonym.hex(),
        "time": delivery.time.isoformat(),
        "delete_by": None if by is None else by.isoformat(),
        "partition": delivery.partition,
        "offset": delivery.offset,
        "value": {name: _plain(value) for name, value in delivery.value.items()},
    }


def as_line(delivery: "Delivery", by: datetime | None = None) -> str:
    """Return a delivery as two lines for people."""
    head = f"{delivery.time:%Y-%m-%d %H:%M:%S}  {delivery.flow}  {delivery.pseudonym.hex()}"
    told = ", ".join(f"{name}={_plain(value)}" for name, value in delivery.value.items() if value is not None)
    withheld = sum(1 for value in delivery.value.values() if value is None)
    empty = f"  ({withheld} empty)" if withheld else ""
    kept = f"  keep until {by:%Y-%m-%d}" if by else ""
    return f"{head}  decision {delivery.decision_id.hex()[:8]}{kept}\n    {told}{empty}"


def notice_as_object(erased: "Erased") -> dict[str, Any]:
    """Return a notice of erasure as JSON can hold it."""
    return {
        "erasure": erased.erasure_id.hex(),
        "type": SUBJECT_ERASED,
        "pseudonym": erased.pseudonym.hex(),
        "time": erased.time.isoformat(),
        "partition": erased.partition,
        "offset": erased.offset,
    }


def notice_as_line(erased: "Erased") -> str:
    """Return a notice of erasure as two lines for people."""
    head = f"{erased.time:%Y-%m-%d %H:%M:%S}  ERASED  {erased.pseudonym.hex()}"
    then = f"passerelle inbox acknowledge {erased.erasure_id.hex()}"
    return f"{head}\n    erase what you hold of this person, then: {then}"


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date | datetime) else value
