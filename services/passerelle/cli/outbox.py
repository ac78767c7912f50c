"""`passerelle publish outbox`: a department's PostgreSQL table, published as it is committed."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer(help="Publish a table of your own PostgreSQL, exactly as it is committed.", no_args_is_help=True)


@app.command()
def ddl() -> None:
    """Print the table `passerelle_outbox`, its trigger and the rights that the relay needs: `… ddl | psql`."""
    from passerelle.publish.outbox_table import DDL

    typer.echo(DDL, nl=False)


@app.command()
def run(
    *,
    department: Annotated[str, typer.Option("--department", "-d", help="Who publishes.")],
    database: Annotated[
        str, typer.Option(help="postgresql://<user>@<host>/<database>; the password in PGPASSFILE.", metavar="URL")
    ],
    once: Annotated[bool, typer.Option("--once", help="End when all that was committed is published.")] = False,
    patience_s: Annotated[
        float, typer.Option(min=1.0, help="How long to go on without success before ending with 75, in seconds.")
    ] = 120.0,
) -> None:
    """Publish every committed row in order, and go on until SIGTERM or Ctrl-C. Start one for each outbox.

    Rows that do not fit their contract become dead letters and stay in the table: `passerelle deadletters list`.
    """
    from passerelle.city.manifest import Manifest
    from passerelle.cli.inbox import known_department
    from passerelle.config import settings
    from passerelle.external_registry.agree import require
    from passerelle.publish.outbox_table import OutboxTable
    from passerelle.publish.relay import Relay
    from passerelle.publish.steady import SteadySender
    from passerelle.telemetry import configure
    from passerelle_schemas.topics import outbox_writer

    configure("relay")
    here = settings()
    manifest = Manifest.load(here.manifest_path)
    known_department(department, set(manifest.department_ids))
    catalogue = manifest.policy_bundle().catalogue
    require(here.registry, catalogue)
    with SteadySender(here.access(department), outbox_writer(department)) as sender:
        relay = Relay(lambda: OutboxTable(database), sender, department, catalogue, patience_s=patience_s)
        relay.run(stopping_on_signals(), follow=not once)
    typer.echo(f"{relay.counts.published} published, {relay.counts.refused} refused")
    raise typer.Exit(1 if once and relay.counts.refused else 0)


def stopping_on_signals() -> "Callable[[], bool]":
    """Return what says whether SIGTERM or SIGINT came; what is in hand is finished first."""
    import signal

    told: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: told.append(received))
    return lambda: bool(told)
