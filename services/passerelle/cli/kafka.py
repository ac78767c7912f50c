"""`passerelle kafka`: the city's own broker."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from passerelle.config import settings

app = typer.Typer(help="The broker: up, down, status.", no_args_is_help=True)


@app.command()
def up(
    *,
    port: Annotated[
        int | None, typer.Option(min=1, max=65_535, help="Listen here; otherwise on a free port, the same each time.")
    ] = None,
    heap: Annotated[
        int, typer.Option("--heap", "-X", min=256, max=65_536, metavar="MiB", help="The JVM's heap, as -Xmx.")
    ] = 768,
    bootstrap_servers: Annotated[
        str | None, typer.Option(help="Use this cluster, which exists already, and start none.")
    ] = None,
    kafka_dir: Annotated[
        Path | None,
        typer.Option(help="Where pom.xml and server.properties stand; otherwise kafka/ beside the manifest."),
    ] = None,
) -> None:
    """Start the broker and wait until it answers; find it running if it is."""
    from passerelle.city.broker import Broker

    home, beside = settings().home, settings().manifest_path.parent / "kafka"
    console = Console(stderr=True)
    with console.status("looking for the broker") as spinner:
        if bootstrap_servers:
            broker = Broker.attach(home, bootstrap_servers)
        else:
            broker = Broker.up(home, kafka_dir or beside, port=port, heap_mb=heap, progress=spinner.update)
    what = "in use" if broker.pid is None else f"up, pid {broker.pid}"
    typer.echo(f"broker {broker.bootstrap_servers} {what}, cluster {broker.cluster_id}")


@app.command()
def down() -> None:
    """Stop the broker that `up` started; its data stays. A cluster that somebody else runs is only forgotten."""
    from passerelle.city.broker import Broker

    broker = Broker.find(settings().home)
    if broker is None:
        typer.echo("no broker is up")
        return
    with Console(stderr=True).status("stopping the broker"):
        broker.down()
    typer.echo(f"broker {broker.bootstrap_servers} {'forgotten' if broker.pid is None else 'down'}")


@app.command()
def status(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say whether the broker answers. Exit code 0 if it does, 1 if not."""
    from passerelle.city.broker import Broker

    found = Broker.status(settings().home)
    document = found.document()
    if as_json:
        typer.echo(json.dumps(document))
    else:
        typer.echo(", ".join(f"{key} {value}" for key, value in document.items() if value is not None))
    raise typer.Exit(0 if found.answers else 1)
