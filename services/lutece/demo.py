"""`make demo`: a day in Lutèce, for real.

A broker, the consent service, the ledger, two gate workers and the agents are started; departments publish the day's
events while citizens take consents back; an observer with credentials of its own counts what arrived.
"""

import json
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from lutece import reports, stories
from lutece.cast import cast
from lutece.citizens import generate
from lutece.day import events_of
from lutece.identities import identity_provider
from lutece.observer import Observer
from lutece.play import DAY_COUNTS, play
from lutece.settled import Settled
from lutece.stage import Pages, Stage, stage
from lutece.summary import Outcome
from lutece.voices import delivered_after_ack
from passerelle.city.node import HOST, free_port, is_free
from passerelle.cli import tell
from passerelle.config import WEB_PORT, settings
from passerelle_consent.ledger.audit.findings import Outcome as Verified
from passerelle_consent.ledger.audit.folder import LogFolder
from passerelle_consent.ledger.audit.verify import verify
from passerelle_consent.ledger.log.note import Verifier
from passerelle_schemas.faults import Fault

CITIZENS = 1_200

WIDTH_WHEN_PIPED = 132
"""Of what is written to a file: a table that is folded to 80 columns is read by nobody."""

console = Console(width=None if sys.stdout.isatty() else WIDTH_WHEN_PIPED)
app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def run(
    *,
    once: Annotated[bool, typer.Option("--once", help="Stop when the day is over.")] = False,
    files: Annotated[str, typer.Option("--input", help="Street-report files to publish, parted by spaces.")] = "",
) -> None:
    """Run the demonstration city. Ctrl-C ends it and stops everything that it started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        kept = _run([Path(name) for name in files.split()], once=once)
    except Fault as fault:
        tell(fault)
        sys.exit(fault.exit_code)
    except KeyboardInterrupt:
        console.print("Stopped.")
        sys.exit(130)
    sys.exit(0 if kept else 1)


def _run(files: Sequence[Path], *, once: bool) -> bool:
    """Play the day; return whether everything went, and every promise that can be counted was kept."""
    started = time.monotonic()
    for file in files:
        next(reports.read_reports(file), None)  # the file and its columns, before anything is started
    people = generate(CITIZENS)
    # A file's reports take the place of invented ones: what its departments receive can be counted from it.
    counts = replace(DAY_COUNTS, reports=0) if files else DAY_COUNTS
    events = list(events_of(people, counts=counts))
    here = settings()
    port = WEB_PORT if is_free(WEB_PORT) else free_port()
    provider = identity_provider(
        here.manifest_path.parent / "identity", cast(stories.find(people, events)), _address(port)
    )
    with (
        provider as clients,
        stage(here, lambda what: _step(what, started), Pages(port=port, clients=clients)) as city,
    ):
        console.print(f"The city's pages: [bold]{_address(port)}[/]", highlight=False)
        with Observer(city.access("observer"), city.observed_topics(), city.bundle.catalogue) as observer:
            day = play(city, people, events, files, console)
            settled = Settled(
                city=city,
                observer=observer,
                published=day.published,
                ledger_size=lambda: _checkpoint_size(city),
                plan_topics=_agents_topics(city),
            )
            with console.status("waiting until everything is decided, delivered and in the ledger"):
                settled.wait()
            table = city.bundle.table()
            flows = {f.id: compiled for f in city.bundle.flows if (compiled := table.flow(f.id))}
            outcome = Outcome(
                seen=observer.seen,
                withdrawals=day.withdrawals,
                delivered_after_ack=len(delivered_after_ack(day.withdrawals, observer.seen, flows)),
                input_rows=sum(t.input_rows for t in day.tallies),
                replays_dropped=settled.replays_dropped(),
                ledger=_ledger(city),
                seconds=time.monotonic() - started,
            )
        _tell(city, outcome)
        if not once:
            _stay(port)
    return outcome.delivered_after_ack == 0 and outcome.ledger["verified"] and all(t.all_went for t in day.tallies)


def _address(port: int) -> str:
    return f"http://{HOST}:{port}"


def _step(what: str, started: float) -> None:
    console.print(f"[dim]{time.monotonic() - started:5.1f} s[/]  {what}")


def _checkpoint_size(city: Stage) -> int:
    checkpoint, _ = LogFolder(city.home.ledger).checkpoint(_verifier(city))
    return checkpoint.size


def _verifier(city: Stage) -> Verifier:
    return Verifier.parse((city.home.run / "ledger.vkey").read_text().strip())


def _ledger(city: Stage) -> dict[str, Any]:
    """Verify the published log as an outsider would: from its files and the verifier key alone."""
    found = verify(LogFolder(city.home.ledger), _verifier(city))
    root = found.root.hex() if found.root else ""
    return {"size": found.size or 0, "root": root, "verified": found.outcome is Verified.VALID}


def _agents_topics(city: Stage) -> tuple[str, ...]:
    return tuple(sorted(name for name in city.wanted.topics if name.startswith(("outbox.", "agents."))))


def _tell(city: Stage, outcome: Outcome) -> None:
    for table in outcome.tables(city.bundle):
        console.print(table)
    path = city.home.run / "summary.json"
    path.write_text(json.dumps(outcome.summary(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    console.print("Where to look next:")
    for command, what in {
        "passerelle ledger verify": "the log, from its files alone",
        "passerelle inbox read --department roads --max 3": "what a department received",
        "passerelle policy show": "the flows in force",
        "passerelle city plan": "what the manifest would change: nothing",
    }.items():
        console.print(f"  {command:<52}[dim]{what}[/]")
    console.print(f"  {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")


def _stay(port: int) -> None:
    console.print(f"The city stays up: [bold]{_address(port)}[/] (choose who to be). Ctrl-C ends it.", highlight=False)
    with suppress(KeyboardInterrupt):
        signal.pause()


if __name__ == "__main__":
    app()
