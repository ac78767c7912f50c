"""`passerelle agents replay`: a stretch of history goes through the rules and the gate once more."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from passerelle.cli.options import ConsentUrl
from passerelle_consent.wire import Cause
from passerelle_schemas.faults import Fault

if TYPE_CHECKING:
    from passerelle.agents.again import Again, Ranges
    from passerelle.agents.app import AgentApp
    from passerelle.agents.logged import Logged
    from passerelle.agents.rerunning import Asked, Rerun
    from passerelle.agents.route import Route
    from passerelle.city.manifest import Manifest

INTERRUPTED = 130
"""128 + SIGINT, as shells say it."""

MS = 1_000


class BadTime(Fault):
    """A time that cannot be run again."""


def replay(
    *,
    since: Annotated[str, typer.Option("--from", help="The first instant, RFC 3339.", metavar="TIME")],
    until: Annotated[str, typer.Option("--to", help="The first instant after it.", metavar="TIME")],
    reason: Annotated[Cause, typer.Option("--reason", help="Why: a word that the ledger keeps.")],
    rules: Annotated[list[str] | None, typer.Option("--rule", help="Only this rule; may be repeated.")] = None,
    outboxes: Annotated[
        list[str] | None, typer.Option("--outbox", help="Only events of this type; may be repeated.")
    ] = None,
    module: Annotated[
        str | None, typer.Option("--agents", help="The module of the agents; otherwise the manifest's.")
    ] = None,
    again: Annotated[
        str, typer.Option("--again", help="Any word: runs anew what was run again before.", metavar="WORD")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do it; otherwise it is only shown.")] = False,
    consent_url: ConsentUrl,
) -> None:
    """Run a stretch of history again: the gate decides each proposal by today's standing and policy.

    Shows what would be run; with --yes it is told to the ledger, and done. The same words are the same run: begun anew
    after an interruption, it decides nothing twice. What was delivered before is delivered again, as a new decision.
    """
    from aiokafka.errors import KafkaError

    from passerelle.agents.again import chosen
    from passerelle.agents.declared import HOLD, MARGIN
    from passerelle.agents.logged import Logged
    from passerelle.agents.rerunning import Asked, Rerun
    from passerelle.city.manifest import Manifest
    from passerelle.cli.agents import load, only
    from passerelle.config import settings

    here = settings()
    manifest = Manifest.load(here.manifest_path)
    app = load(module or only(manifest))
    asked = Asked(
        since_ms=_ms(since, "--from"),
        until_ms=_ms(until, "--to"),
        rules=tuple(rules or ()),
        outboxes=tuple(outboxes or ()),
        again=again,
    )
    _check(asked)
    wanted = chosen(app, asked.rules, asked.outboxes)
    rerun = Rerun(app, wanted, asked, here.access(app.id), manifest.partitions)
    try:
        ranges = asyncio.run(rerun.ranges())
        _preview(app, wanted, ranges, asked)
        if any(isinstance(rule, Logged) for rule in wanted):
            typer.echo(f"  joins see what their logs still hold: the last {(HOLD + MARGIN).days} days")
        if not yes:
            typer.echo("nothing was done; with --yes it is")
            return
        entry = _tell(manifest, app.id, asked, reason, consent_url)
        done = _run(rerun, manifest, ranges)
    except (KafkaError, TimeoutError) as exc:
        hint = "begin it anew with the same words; is the broker up? passerelle kafka status"
        raise Fault(f"the broker did not answer ({type(exc).__name__})", hint=hint) from None
    _say(done, entry, asked.statement(app.id))


def _check(asked: "Asked") -> None:
    if asked.since_ms >= asked.until_ms:
        raise BadTime("--from is not before --to")
    if asked.until_ms > datetime.now(UTC).timestamp() * MS:
        raise BadTime("--to is in the future", hint="a run is over what has happened, so that it is the same each time")


def _ms(text: str, option: str) -> int:
    hint = "for example 2026-11-01T00:00:00Z"
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise BadTime(f"{option} is not RFC 3339", hint=hint) from None
    if at.tzinfo is None:
        raise BadTime(f"{option} has no offset from UTC", hint=hint)
    return int(at.timestamp() * MS)


def _preview(app: "AgentApp", rules: "list[Route | Logged]", ranges: "Ranges", asked: "Asked") -> None:
    """What would be run again, and who may receive of it."""
    counts: Counter[str] = Counter()
    for (topic, _), stretch in ranges.items():
        counts[topic] += len(stretch)
    typer.echo(f"run {asked.run(app.id)}")
    for topic, count in sorted(counts.items()):
        typer.echo(f"  {topic}: at most {count:,} records")
    for rule in rules:
        recipients = sorted({app.flow(flow).recipient for flow in rule.flows})
        typer.echo(f"  {rule.name} ({rule.kind}) → {', '.join(recipients)}")


def _tell(manifest: "Manifest", app: str, asked: "Asked", reason: Cause, consent_url: str) -> str:
    from passerelle.config import settings
    from passerelle.dead_letters import Done
    from passerelle.issuer import Bearing
    from passerelle.letters import tell
    from passerelle.provider import bearer

    auth = bearer(settings(), manifest, Bearing(scopes=["operator"]))
    return tell(consent_url, auth, Done.REPLAYED, reason, component=app, digest=asked.digest(app))


def _run(rerun: "Rerun", manifest: "Manifest", ranges: "Ranges") -> "Again":
    from rich.console import Console
    from rich.progress import Progress

    from passerelle.config import settings

    keyring = manifest.keyring(settings().home)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("records", total=sum(map(len, ranges.values())))
        try:
            return asyncio.run(rerun.run(ranges, keyring, lambda count: progress.advance(task, count)))
        except KeyboardInterrupt:
            typer.echo("interrupted: begin it anew with the same words, and nothing is decided twice", err=True)
            raise typer.Exit(INTERRUPTED) from None


def _say(done: "Again", entry: str, statement: str) -> None:
    tally = done.tally
    for (rule, flow), count in sorted(tally.proposed.items()):
        typer.echo(f"{rule} → {flow}: {count:,} proposed")
    if refused := sum(tally.refused.values()):
        typer.echo(f"{refused:,} that no rule could take, as when they were first seen", err=True)
    typer.echo(f"{sum(tally.proposed.values()):,} proposals, each for the gate to decide by today's standing")
    typer.echo(f"ledger entry {entry}: the SHA-256 of {statement}")
