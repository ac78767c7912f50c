"""`passerelle agents`: run and list the agents of an app."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from passerelle.cli import rerun, scaffold

if TYPE_CHECKING:
    from passerelle.agents.app import AgentApp
    from passerelle.city.manifest import Manifest
    from passerelle.testkit.scenario import Stage

app = typer.Typer(help="Agents: run, list.", no_args_is_help=True)

app.command("new")(scaffold.rule)
app.command("replay")(rerun.replay)

FINDINGS_SHOWN = 5
"""Of one attack: the first tell enough."""

ModuleOption = Annotated[
    str | None, typer.Option("--agents", help="The module of the agents; otherwise the manifest's.", metavar="MODULE")
]
Module = Annotated[str, typer.Argument(help="The Python module of the agents; its AgentApp is named `city`.")]


@app.command()
def run(module: Module) -> None:
    """Run a worker until SIGTERM. Exit code 75: it gave up for now, start it again."""
    import faust
    import structlog

    from passerelle.agents.patience import give_up
    from passerelle.city.manifest import Manifest
    from passerelle.config import settings
    from passerelle.external_registry.agree import require
    from passerelle.telemetry import configure

    agents = load(module)
    configure(agents.id)
    here = settings()
    if here.registry is not None:
        require(here.registry, Manifest.load(here.manifest_path).policy_bundle().catalogue)
    agents.app.finalize()
    worker = faust.Worker(agents.app, override_logging=False, quiet=True)
    worker.spinner = None
    try:
        worker.execute_from_commandline()
    except SystemExit as ended:
        if ended.code not in (None, 0):
            give_up("the worker crashed", code=ended.code)
        structlog.get_logger().info("stopped", app=agents.id)
        raise


@app.command("list")
def list_(module: Module, *, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show the rules: what they hear, which flows they propose for, and where each field comes from."""
    from passerelle.agents.logged import Hop

    rules = [_described(rule) for rule in load(module).rules.values() if not isinstance(rule, Hop)]
    if as_json:
        typer.echo(json.dumps(rules, ensure_ascii=False))
        return
    _show(rules)


@app.command("test")
def play_(
    scenarios: Annotated[list[Path], typer.Argument(help="Scenario files.", metavar="FILE…")],
    *,
    module: ModuleOption = None,
    real: Annotated[bool, typer.Option("--real", help="On a real broker.")] = False,
) -> None:
    """Play scenarios: what happens in the city, and what must come of it. Exit code 1: something else came.

    In memory, in milliseconds; with --real each on a broker and processes of its own, in half a minute.
    """
    from passerelle.city.manifest import Manifest
    from passerelle.config import settings
    from passerelle.testkit.scenario import play, read_scenario

    manifest = Manifest.load(settings().manifest_path)
    module = module or only(manifest)
    read = [read_scenario(path) for path in scenarios]
    failed = 0
    for document, scenario in read:
        with _stage(manifest, module, real=real) as stage:
            begun = time.monotonic()
            findings = list(play(document, scenario, stage))
            took_ms = (time.monotonic() - begun) * 1000
        failed += bool(findings)
        typer.echo(
            f"{'not so' if findings else 'as expected'}: {scenario.scenario} ({document.path}, {took_ms:.0f} ms)",
            err=bool(findings),
        )
        for finding in findings:
            typer.echo(f"  {finding.where}: {finding.what}", err=True)
    raise typer.Exit(1 if failed else 0)


@app.command()
def attack(
    *,
    module: ModuleOption = None,
    seeds: Annotated[int, typer.Option(min=1, max=10_000, help="How often each attack is made.")] = 20,
) -> None:
    """Do to the agents, in memory, what the world will do to them. Exit code 1: they did not withstand it."""
    import logging

    import structlog
    from rich.console import Console
    from rich.progress import track

    from passerelle.city.manifest import Manifest
    from passerelle.config import settings
    from passerelle.testkit.adversary import Adversary, Attack

    console = Console(stderr=True)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    manifest = Manifest.load(settings().manifest_path)
    adversary = Adversary(load(module or only(manifest)), manifest.policy_bundle())
    held = True
    for which in Attack:
        tries = track(
            range(seeds), description=which.value, console=console, transient=True, disable=not console.is_terminal
        )
        broken = [b for seed in tries for b in adversary.attack(which, seed)]
        held = held and not broken
        typer.echo(f"{which.value:<12} {f'{len(broken)} findings' if broken else 'withstood'}")
        for what in dict.fromkeys(f"  seed {b.seed}: {b.what}" for b in broken[:FINDINGS_SHOWN]):
            typer.echo(what, err=True)
    raise typer.Exit(0 if held else 1)


@contextmanager
def _stage(manifest: "Manifest", module: str, *, real: bool) -> Iterator["Stage"]:
    """Where a scenario is played, new for each: they share nothing."""
    from rich.console import Console

    from passerelle.testkit.memory import MemoryCity
    from passerelle.testkit.real import real_city

    agents = load(module)
    if not real:
        yield MemoryCity(agents, manifest.policy_bundle())
        return
    with (
        Console(stderr=True).status("a broker") as status,
        real_city(manifest, module, agents.plan(), status.update) as city,
    ):
        yield city


def only(manifest: "Manifest") -> str:
    """Return the one module of agents that it names. Raises `Fault`."""
    from passerelle_schemas.faults import Fault

    modules = [agents.module for agents in manifest.agents]
    if len(modules) != 1:
        raise Fault(f"the manifest names {len(modules)} apps of agents", hint="name one: --agents MODULE")
    return modules[0]


def load(module: str) -> "AgentApp":
    """Import the module's ``city``. Raises `Fault`."""
    from passerelle.agents.app import AgentApp
    from passerelle.city.modules import imported
    from passerelle.config import settings
    from passerelle_schemas.faults import Fault

    try:
        city = getattr(imported(module, settings().manifest_path), "city", None)
    except ModuleNotFoundError as exc:
        raise Fault(
            f"no module {exc.name}", where=module, hint="name it as in `import …`, for example lutece.agents"
        ) from None
    if not isinstance(city, AgentApp):
        raise Fault("has no AgentApp named city", where=module)
    return city


def _described(rule: Any) -> dict[str, Any]:
    return {
        "rule": rule.name,
        "kind": rule.kind,
        "inputs": [box.contract.type for box in rule.outboxes],
        "flows": list(rule.flows),
        "event": rule.event,
        "lineage": {name: list(sources) for name, sources in rule.lineage.items()},
    }


def _show(rules: list[dict[str, Any]]) -> None:
    for rule in rules:
        typer.echo(f"{rule['rule']} ({rule['kind']})")
        typer.echo(f"  hears     {', '.join(rule['inputs'])}")
        typer.echo(f"  proposes  {rule['event']} to {', '.join(rule['flows'])}")
        if rule["inputs"] == [rule["event"]]:
            typer.echo("  fields    as they are")
            continue
        for name, sources in rule["lineage"].items():
            typer.echo(f"  {name} ← {', '.join(sources)}")
