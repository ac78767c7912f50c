"""`passerelle policy`: the policy that the city's files make."""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(help="The policy: agreements, flows and contracts under one digest.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `show` a sub-command while it is the only one."""


@app.command()
def show(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
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
