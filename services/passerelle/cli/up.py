"""`passerelle up`, `down`, `status`: a whole city on this machine, from the folder of its manifest."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from passerelle.config import CONSENT_PORT, WEB_PORT

if TYPE_CHECKING:
    from pathlib import Path

    from passerelle.city.manifest import Manifest
    from passerelle.city.running import RunningCity
    from passerelle.city.supervised import Started, Supervised
    from passerelle.config import Home

TICK_S = 0.5
START_S_MAX = 900.0
"""Of a city in the background: the broker's jars may have to be fetched first. It gives up by itself before that."""
TERM_S = 20.0
"""Longer than a component or the broker takes to end, each."""

Detach = Annotated[
    bool, typer.Option("--detach", "-d", help="Return when everything is ready; `passerelle down` ends it.")
]
Port = Annotated[
    int | None,
    typer.Option(min=1, max=65_535, help="Of the consent service; otherwise 8470, or a free one if that is taken."),
]
Gates = Annotated[int, typer.Option("--gates", min=1, max=16, help="How many gate workers.")]
Heap = Annotated[int, typer.Option("--heap", min=256, max=65_536, metavar="MiB", help="The broker's heap, as -Xmx.")]


def up(*, detach: Detach = False, port: Port = None, gates: Gates = 1, heap: Heap = 768) -> None:
    """Start the city of this folder: broker, consent service, ledger, gate, agents. Ctrl-C ends it.

    They are watched over: what gives up for now is started again, and what ends for good ends the city, with its
    reason. What is stored stays, and is used again the next time.
    """
    from passerelle.city.manifest import Manifest
    from passerelle.config import settings

    here = settings()
    running = _found(here.home)
    if running is not None and running.supervisor.alive:
        _tell(Console(), running)
        return
    if running is not None:  # somebody killed the supervisor: its components may live still
        running.end(here.home, term_seconds=TERM_S)
    manifest = Manifest.load(here.manifest_path)
    if detach:
        _in_background(here.home, [*_given("--port", port), "--gates", str(gates), "--heap", str(heap)])
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    _in_foreground(manifest, here.home, port=port or _port(CONSENT_PORT), gates=gates, heap=heap)


def down() -> None:
    """End the city that `passerelle up` started here, its broker too. What it stored stays."""
    from passerelle.city.broker import Broker
    from passerelle.config import settings

    home = settings().home
    running, broker = _found(home), Broker.find(home)
    if running is None and broker is None:
        typer.echo("nothing is up here")
        return
    with Console(stderr=True).status("stopping the city"):
        if running is not None:
            running.end(home, term_seconds=TERM_S)
        broker = Broker.find(home)
        if broker is not None and broker.pid is not None:
            broker.down()
    typer.echo("the city is down")


def status(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show what `passerelle up` started here. Exit code 1: not everything runs."""
    from passerelle.config import settings

    running = _found(settings().home)
    well = running is not None and running.ready and all(one.alive for one in _all(running).values())
    if as_json:
        typer.echo(json.dumps(_document(running)))
    elif running is None:
        typer.echo("nothing is up here")
    else:
        _tell(Console(), running)
    raise typer.Exit(0 if well else 1)


def _found(home: "Home") -> "Supervised | None":
    from passerelle.city.supervised import Supervised

    return Supervised.find(home)


def _port(usual: int) -> int:
    from passerelle.city.node import free_port, is_free

    return usual if is_free(usual) else free_port()


def _given(option: str, value: int | None) -> list[str]:
    return [] if value is None else [option, str(value)]


# -- in the foreground ------------------------------------------------------------------------------------------------


def _in_foreground(manifest: "Manifest", home: "Home", *, port: int, gates: int, heap: int) -> None:
    from passerelle.city.node import HOST
    from passerelle.city.running import running

    console = Console()
    said = _Said(console)
    try:
        pages = _port(WEB_PORT) if manifest.desk is not None else None
        with running(
            manifest,
            home,
            consent_port=port,
            web_port=pages,
            gate_workers=gates,
            heap_mb=heap,
            progress=said.step,
        ) as city:
            said.done()
            console.print(_headline(manifest.id, city.consent_url), highlight=False)
            if pages is not None:
                console.print(f"its pages: http://{HOST}:{pages}", highlight=False)
            try:
                _watch(city, console)
            finally:
                # From here on nothing is to cut the good order of ending short; each part of it has its bound.
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    signal.signal(number, signal.SIG_IGN)
    except KeyboardInterrupt:
        pass
    finally:
        said.done()
    console.print("the city is down", highlight=False)


def _watch(city: "RunningCity", console: Console) -> None:
    """Show how everything is until Ctrl-C. Raises `ComponentFault` when a part of it ended for good."""
    if not console.is_terminal:
        while True:
            city.supervisor.check()
            time.sleep(TICK_S)
    with Live(_table(city), console=console, auto_refresh=False) as live:
        while True:
            city.supervisor.check()
            live.update(_table(city), refresh=True)
            time.sleep(TICK_S)


def _table(city: "RunningCity") -> RenderableType:
    table = _empty()
    broker = "up" if city.broker.alive else "gone"
    table.add_row("broker", broker, str(city.broker.pid or "-"), "", city.broker.bootstrap_servers)
    for part in city.supervisor.running():
        state = "up" if part.is_ready() else "starting"
        where = os.path.relpath(part.log)
        table.add_row(part.component.name, state, str(part.started.pid), _times(part.started), where)
    return Group(table, Text("Ctrl-C ends the city.", style="dim"))


class _Said:
    """The steps of a start: a spinner on a terminal, lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self._spinner = console.status("") if console.is_terminal else None
        if self._spinner:
            self._spinner.start()

    def step(self, what: str) -> None:
        if self._spinner:
            self._spinner.update(what)
        else:
            typer.echo(what)

    def done(self) -> None:
        if self._spinner:
            self._spinner.stop()


# -- in the background ------------------------------------------------------------------------------------------------


def _in_background(home: "Home", options: list[str]) -> None:
    """Start a supervisor that outlives this command, and wait until it is ready. Raises `Fault` with its reason."""
    from pathlib import Path

    from passerelle.city import process

    home.logs.mkdir(parents=True, exist_ok=True)
    output = home.logs / "up.log"
    start = output.stat().st_size if output.exists() else 0
    command = [sys.executable, "-m", "passerelle.cli", "up", *options]
    pid, born = process.start(command, cwd=Path.cwd(), output=output, environ=dict(os.environ))
    try:
        with Console(stderr=True).status("starting the city") as spinner:
            _await_ready(home, lambda: process.alive(pid, born), lambda: spinner.update(_last_line(output, start)))
    except BaseException:  # Ctrl-C as well: nothing half-started stays behind
        process.stop(pid, born, term_seconds=TERM_S * 6)
        raise
    running = _found(home)
    if running is None or not running.ready:
        from passerelle_schemas.faults import Fault

        raise Fault(_reason(output, start), where=str(output))
    _tell(Console(), running)


def _await_ready(home: "Home", alive: Callable[[], bool], show: Callable[[], None]) -> None:
    end = time.monotonic() + START_S_MAX
    while alive() and time.monotonic() < end:
        running = _found(home)
        if running is not None and running.ready:
            return
        show()
        time.sleep(TICK_S / 5)


def _last_line(path: "Path", start: int) -> str:
    lines = _lines(path, start)
    return lines[-1] if lines else "starting the city"


def _reason(path: "Path", start: int) -> str:
    """What the supervisor complained of."""
    from passerelle.city.components import TOLD

    told = [line.removeprefix(TOLD) for line in _lines(path, start) if line.startswith(TOLD)]
    return told[-1] if told else "the city did not come up"


def _lines(path: "Path", start: int) -> list[str]:
    with path.open(encoding="utf-8", errors="replace") as file:
        file.seek(start)
        return [line.strip() for line in file if line.strip()]


# -- what is told -----------------------------------------------------------------------------------------------------


def _tell(console: Console, running: "Supervised") -> None:
    table = _empty()
    for name, one in _all(running).items():
        state = "gone" if not one.alive else "up" if running.ready else "starting"
        table.add_row(name, state, str(one.pid), _times(one), "")
    console.print(table)
    console.print(f"consent service: {running.consent_url or '-'}", highlight=False)


def _all(running: "Supervised") -> "dict[str, Started]":
    return {"supervisor": running.supervisor, **running.components}


def _document(running: "Supervised | None") -> dict[str, object]:
    if running is None:
        return {"ready": False, "consent_url": None, "components": {}}
    parts = {n: {"pid": o.pid, "alive": o.alive, "restarts": o.restarts} for n, o in _all(running).items()}
    return {"ready": running.ready, "consent_url": running.consent_url or None, "components": parts}


def _headline(city: str, url: str) -> str:
    return f"city {city} is up, consent service {url}"


def _empty() -> Table:
    return Table("", "State", "Process", "Started again", "", box=None, pad_edge=False)


def _times(one: "Started") -> str:
    return f"{one.restarts}×" if one.restarts else ""
