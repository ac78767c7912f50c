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
    rows = [
        {
            "flow": f.id,
            "event": f.event,
            "recipient": f.recipient,
            "agreements": {ref: bases[ref] for ref in f.agreements},
            "required": list(f.required),
            "optional": list(f.optional),
        }
        for f in bundle.flows
    ]
    if as_json:
        typer.echo(json.dumps({"digest": bundle.digest.hex(), "flows": rows}, ensure_ascii=False))
        return
    table = Table("Flow", "Event", "Recipient", "Agreements (basis)", caption=f"policy {bundle.digest.hex()}")
    for row in rows:
        terms = ", ".join(f"{ref} ({basis})" for ref, basis in row["agreements"].items())
        table.add_row(row["flow"], row["event"], row["recipient"], terms)
    Console().print(table)
