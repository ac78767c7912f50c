"""`passerelle deadletters`: what was not taken, why, and what an operator does about it."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from passerelle.cli.options import ConsentUrl
from passerelle_consent.wire import Cause

if TYPE_CHECKING:
    from passerelle.cli.replaying import Asked, Desk, Outcome
    from passerelle.dead_letters import Done, Waiting
    from passerelle_consent.wire import DeadLetter

app = typer.Typer(help="What was not taken, and why: references, no payload, no person.", no_args_is_help=True)

Owner = Annotated[str, typer.Option("--owner", "-o", help="A department, `gate`, or `agents.<app>`.")]
Reference = Annotated[str, typer.Argument(help="As `list` shows it: topic[partition]@offset.")]
Database = Annotated[
    str | None, typer.Option(help="The department's database, for rows of its outbox and its tables.", metavar="URL")
]
Why = Annotated[Cause, typer.Option("--cause", help="Why: a word that the ledger keeps.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(*, owner: Owner, as_json: AsJson = False) -> None:
    """List what waits, the longest first: whose, which, why, how often, since when. Exit 1 when anything does."""
    found = _waiting(_desk(owner), owner)
    if as_json:
        typer.echo(json.dumps([_plain(one) for one in found]))
    else:
        table = Table("owner", "reference", "way", "reason", "count", "replays", "first seen", "last seen", box=None)
        for one in found:
            seen = (f"{at:%Y-%m-%d %H:%M:%S}" for at in (one.first, one.last))
            said = (one.owner, one.reference, one.letter.component, one.letter.reason)
            table.add_row(*said, str(one.count), str(one.replays), *seen)
        Console(soft_wrap=True, highlight=False, markup=False).print(table)
    raise typer.Exit(1 if found else 0)


@app.command()
def show(reference: Reference, *, owner: Owner) -> None:
    """Show one, as JSON."""
    from passerelle.dead_letters import find

    typer.echo(json.dumps(_plain(find(_waiting(_desk(owner), owner), reference)), indent=2))


@app.command()
def replay(
    reference: Reference,
    *,
    owner: Owner,
    cause: Why,
    database: Database = None,
    url: Annotated[str | None, typer.Option(help="The receiver, for letters of a webhook.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Also one that came back from three replays.")] = False,
    consent_url: ConsentUrl,
) -> None:
    """Try a record again, the way that it went: by the relay, the webhook, the table, or the gate.

    The ledger is told before. What is handed on is checked against the citizen's standing of now. Exit 1 when it was
    not taken again: then it waits as before.
    """
    from passerelle.cli.replaying import Asked
    from passerelle.dead_letters import Done, find

    desk = _desk(owner, Asked(database=database, url=url, consent_url=consent_url))
    waiting = find(_waiting(desk, owner), reference)
    waiting.may_be_replayed(again=again)
    act = desk.ready(waiting)
    entry = _tell(desk, waiting, Done.REPLAYED, cause)
    outcome = act()
    _settle(desk, waiting, Done.REPLAYED, outcome.letters)
    _say(reference, outcome, entry)


@app.command()
def discard(
    reference: Reference,
    *,
    owner: Owner,
    cause: Why,
    database: Database = None,
    consent_url: ConsentUrl,
) -> None:
    """Say that this one is given up. A refused row is deleted; a record stays where it is until its retention ends."""
    from passerelle.cli.replaying import Asked, Outcome
    from passerelle.dead_letters import Done, find
    from passerelle_schemas.faults import Fault

    desk = _desk(owner, Asked(database=database, url=None, consent_url=consent_url))
    waiting = find(_waiting(desk, owner), reference)
    row = waiting.letter.component == "relay"
    if row and database is None:
        raise Fault("this one is a row of the department's outbox", hint="say where: --database postgresql://…")
    entry = _tell(desk, waiting, Done.DISCARDED, cause)
    said = _discarded_row(database, waiting.letter.offset) if row and database else "discarded"
    _settle(desk, waiting, Done.DISCARDED, [])
    _say(reference, Outcome(said=said), entry)


def _discarded_row(database: str, row: int) -> str:
    from passerelle.publish.outbox_table import OutboxTable

    with OutboxTable(database, alone=False) as table:
        return "discarded" if table.discard(row) else "no such row is refused any more: only the letter is settled"


def _desk(owner: str, asked: "Asked | None" = None) -> "Desk":
    """A department sees to its own; those of the bus itself take the administrator's key. Raises `Fault`."""
    from passerelle.city.manifest import Manifest
    from passerelle.cli.replaying import Asked, Desk
    from passerelle.config import settings
    from passerelle.issuer import Bearing
    from passerelle_schemas.faults import Fault

    here = settings()
    manifest = Manifest.load(here.manifest_path)
    if owner in manifest.department_ids:
        access, bearing = here.access(owner), Bearing(scopes=["department"], department=owner)
    elif owner in {"gate", *(agents.principal for agents in manifest.agents)}:
        access, bearing = here.access("admin"), Bearing(scopes=["operator"])
    else:
        raise Fault(f"nobody is called {owner}", hint="a department, gate, or agents.<app>")
    asked = asked or Asked()
    return Desk(here=here, manifest=manifest, access=access, bearing=bearing, asked=asked)


def _tell(desk: "Desk", waiting: "Waiting", done: "Done", cause: Cause) -> str:
    from passerelle.letters import tell

    return tell(desk.asked.consent_url, desk.auth(), done, cause, component=waiting.component, digest=waiting.digest)


def _settle(desk: "Desk", waiting: "Waiting", done: "Done", came_back: "list[DeadLetter]") -> None:
    """After it was done: a crash in between leaves a letter that waits, and can be settled again."""
    from passerelle.dead_letters import resolution
    from passerelle.letters import write

    write(desk.access, waiting.owner, [resolution(waiting.letter, done), *came_back])


def _say(reference: str, outcome: "Outcome", entry: str) -> None:
    typer.echo(f"{reference}: {outcome.said}  (ledger entry {entry})")
    if outcome.letters:
        raise typer.Exit(1)


def _waiting(desk: "Desk", owner: str) -> "list[Waiting]":
    from passerelle.dead_letters import waiting
    from passerelle.letters import read

    return waiting(read(desk.access, owner), owner)


def _plain(one: "Waiting") -> dict[str, Any]:
    said = {name: value for name, value in asdict(one.letter).items() if value is not None}
    seen = {"first": one.first.isoformat(), "last": one.last.isoformat()}
    counted = {"count": one.count, "replays": one.replays}
    return {"reference": one.reference, "owner": one.owner, **said, **counted, **seen}
