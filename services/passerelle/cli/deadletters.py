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
    from passerelle.dead_letters import Waiting
    from passerelle.replaying import Asked, Desk
    from passerelle.settling import Settled

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
    found = _waiting(owner)
    if as_json:
        typer.echo(json.dumps([_plain(one) for one in found]))
    else:
        table = Table("owner", "reference", "way", "reason", "count", "replays", "first seen", "last seen", box=None)
        for one in found:
            seen = (f"{at:%Y-%m-%d %H:%M:%S}" for at in (one.first, one.last))
            letter = one.letter
            way = letter.rule if letter.rule and letter.component.startswith("agents.") else letter.component
            said = (one.owner, one.reference, way, _why(letter.reason, letter.error))
            table.add_row(*said, str(one.count), str(one.replays), *seen)
        Console(soft_wrap=True, highlight=False, markup=False).print(table)
    raise typer.Exit(1 if found else 0)


@app.command()
def show(reference: Reference, *, owner: Owner) -> None:
    """Show one, as JSON."""
    from passerelle.dead_letters import find

    typer.echo(json.dumps(_plain(find(_waiting(owner), reference)), indent=2))


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
    from passerelle.replaying import Asked
    from passerelle.settling import replay as replayed

    desk = _desk(owner, Asked(database=database, url=url, consent_url=consent_url))
    _say(reference, replayed(desk, owner, reference, cause, again=again))


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
    from passerelle.replaying import Asked
    from passerelle.settling import discard as discarded

    desk = _desk(owner, Asked(database=database, url=None, consent_url=consent_url))
    _say(reference, discarded(desk, owner, reference, cause))


def _desk(owner: str, asked: "Asked | None" = None) -> "Desk":
    """Raises `Fault`."""
    from passerelle.city.manifest import Manifest
    from passerelle.config import settings
    from passerelle.settling import desk

    here = settings()
    return desk(here, Manifest.load(here.manifest_path), owner, asked)


def _say(reference: str, settled: "Settled") -> None:
    typer.echo(f"{reference}: {settled.outcome.said}  (ledger entry {settled.entry})")
    if settled.outcome.letters:
        raise typer.Exit(1)


def _waiting(owner: str) -> "list[Waiting]":
    from passerelle.settling import letters_of

    return letters_of(_desk(owner), owner)


def _why(reason: str, error: str | None) -> str:
    return f"{reason} ({error})" if error else reason


def _plain(one: "Waiting") -> dict[str, Any]:
    said = {name: value for name, value in asdict(one.letter).items() if value is not None}
    seen = {"first": one.first.isoformat(), "last": one.last.isoformat()}
    counted = {"count": one.count, "replays": one.replays}
    return {"reference": one.reference, "owner": one.owner, **said, **counted, **seen}
