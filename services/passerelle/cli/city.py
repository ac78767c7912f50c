"""`passerelle city`: what the manifest says, on the broker."""

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from passerelle.config import settings

if TYPE_CHECKING:
    from passerelle.city.apply import City
    from passerelle.city.plan import Plan

app = typer.Typer(help="The city: lint its files, plan and apply topics, users and rights.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def lint(
    *,
    as_json: Json = False,
    lock: Annotated[bool, typer.Option("--lock", help="First lock the digests of new versions of agreements.")] = False,
) -> None:
    """Check manifest, contracts, flows, agreements and joins; name every problem by file and line."""
    from datetime import UTC, datetime

    from passerelle.city import contracts
    from passerelle.city import lint as rules
    from passerelle.city.apply import checked_plans
    from passerelle.city.manifest import Manifest
    from passerelle_schemas.documents import DocumentFault

    try:
        manifest = Manifest.load(settings().manifest_path)
        locked = rules.lock(manifest) if lock else []
        bundle = manifest.policy_bundle()
        checked_plans(manifest)
        warnings = [*rules.reviews(manifest, datetime.now(UTC).date()), *contracts.warnings(manifest)]
    except DocumentFault as fault:
        if as_json:
            typer.echo(json.dumps({"problems": fault.problems}, ensure_ascii=False))
            raise typer.Exit(fault.exit_code) from None
        raise
    counts = {
        "departments": len(manifest.departments),
        "contracts": sum(1 for _ in bundle.catalogue),
        "flows": len(bundle.flows),
        "agreements": len(bundle.agreements),
    }
    if as_json:
        said = {"problems": [], "warnings": warnings, "locked": locked}
        typer.echo(json.dumps({**said, **counts, "policy": bundle.digest.hex()}, ensure_ascii=False))
        return
    for line in (*(f"locked: {ref}" for ref in locked), *(f"warning: {text}" for text in warnings)):
        typer.echo(line)
    typer.echo(f"{', '.join(f'{n} {what}' for what, n in counts.items())}: no problems")


@app.command()
def plan(
    *,
    as_json: Json = False,
    detailed_exitcode: Annotated[bool, typer.Option(help="Exit with 1 when there is a difference.")] = False,
) -> None:
    """Show what `apply` would change, and change nothing."""
    with Console(stderr=True).status("asking the broker what it has"):
        found = _city().plan()
    _show(found, as_json=as_json, done=False)
    if detailed_exitcode and not found.settled:
        raise typer.Exit(1)


@app.command()
def apply(*, as_json: Json = False) -> None:
    """Make topics, SCRAM users and rights what the manifest says. Run twice, the second time changes nothing."""
    with Console(stderr=True).status("reading the city's files") as spinner:
        carried_out = _city().apply(spinner.update)
    _show(carried_out, as_json=as_json, done=True)


def _city() -> "City":
    from passerelle.city.apply import City
    from passerelle.city.manifest import Manifest

    found = settings()
    manifest = Manifest.load(found.manifest_path)
    return City(manifest=manifest, home=found.home, admin=found.access("admin"))


def _show(found: "Plan", *, as_json: bool, done: bool) -> None:
    from passerelle.city.plan import rows

    changes = list(rows(found.changes))
    if as_json:
        named = [dict(zip(("do", "what", "detail"), row, strict=True)) for row in changes]
        document = {"changes": named, "refusals": found.refusals, "notes": found.notes, "applied": done}
        typer.echo(json.dumps(document, ensure_ascii=False))
        return
    if changes:
        table = Table("", "What", Column("How", overflow="fold"))
        for row in changes:
            table.add_row(*row)
        Console().print(table)
    for line in (*(f"refused: {text}" for text in found.refusals), *found.notes):
        typer.echo(line)
    verb = "made" if done else "to make"
    typer.echo(f"{len(changes)} changes {verb}" if changes else "the broker is as the manifest says")
