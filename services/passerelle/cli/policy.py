"""`passerelle policy`: the policy that the city's files make, and what another would have done."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from passerelle.city.manifest import Manifest
    from passerelle_consent.policy.bundle import PolicyBundle

INTERRUPTED = 130
"""128 + SIGINT, as shells say it."""

app = typer.Typer(help="The policy: agreements, flows and contracts under one digest.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def show(*, as_json: AsJson = False) -> None:
    """Print the flows in force, their agreements and bases, and the policy's digest."""
    from passerelle.city.manifest import Manifest
    from passerelle.config import settings

    bundle = Manifest.load(settings().manifest_path).policy_bundle()
    bases = {a.ref: a.basis.value for a in bundle.agreements}
    if as_json:
        flows = [
            flow.model_dump(mode="json") | {"agreements": {ref: bases[ref] for ref in flow.agreements}}
            for flow in bundle.flows
        ]
        typer.echo(json.dumps({"digest": bundle.digest.hex(), "flows": flows}, ensure_ascii=False))
        return
    table = Table("Flow", "Event", "Recipient", "Agreements (basis)", caption=f"policy {bundle.digest.hex()}")
    for flow in bundle.flows:
        terms = ", ".join(f"{ref} ({bases[ref]})" for ref in flow.agreements)
        table.add_row(flow.id, flow.event, flow.recipient, terms)
    Console().print(table)


@app.command()
def replay(
    *,
    agreements: Annotated[Path, typer.Option("--with", help="Folder of the changed agreements.", metavar="FOLDER")],
    since: Annotated[str, typer.Option(help="From when: RFC 3339, or a day (UTC).", metavar="TIME")],
    flows: Annotated[
        Path | None, typer.Option(help="Folder of changed flows; otherwise the city's.", metavar="FOLDER")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Decide what was decided once more, under changed agreements, and tell the difference. Nothing is delivered.

    Reads the ledger's database and the consent store, and writes nothing. Shows no person: decisions by their ids.
    """
    from passerelle.city.manifest import Manifest
    from passerelle.config import settings
    from passerelle.past import opened
    from passerelle.replay_report import plain, tell

    here = settings()
    since_ms = _instant_ms(since)
    manifest = Manifest.load(here.manifest_path)
    changed = _changed(manifest, agreements, flows)
    try:
        with opened(here, since_ms) as replaying, _progress(replaying.entries, quiet=as_json) as looked:
            report = replaying.run(changed.table(), looked)
    except KeyboardInterrupt:
        typer.echo("interrupted; nothing was written", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        typer.echo(json.dumps(plain(report, changed.digest, since_ms), ensure_ascii=False))
    else:
        tell(report, changed.digest)


def _instant_ms(text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("a time is 2026-11-25 or 2026-11-25T08:00:00Z", param_hint="--since") from None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def _changed(manifest: "Manifest", agreements: Path, flows: Path | None) -> "PolicyBundle":
    """Raises `DocumentFault` with file and line of every problem; `Fault` for a folder that is none."""
    from passerelle_consent.policy.bundle import PolicyBundle
    from passerelle_schemas.faults import Fault

    for folder in (agreements, flows):
        if folder is not None and not folder.is_dir():
            raise Fault("no such folder", where=str(folder))
    return PolicyBundle.load(manifest.contracts, flows or manifest.flows, agreements)


@contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """On the terminal's error channel, so that what is piped is the report alone."""
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=quiet) as progress:
        task = progress.add_task("Deciding again", total=total)
        yield lambda entries: progress.advance(task, entries)
