"""`passerelle agents`: run and list the agents of an app."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from passerelle.agents.app import AgentApp

app = typer.Typer(help="Agents: run, list.", no_args_is_help=True)

Module = Annotated[str, typer.Argument(help="The Python module of the agents; its AgentApp is named `city`.")]


@app.command()
def run(module: Module) -> None:
    """Run a worker until SIGTERM. Exit code 75: it gave up for now, start it again."""
    import faust
    import structlog

    from passerelle.agents.patience import give_up
    from passerelle.telemetry import configure

    agents = _load(module)
    configure(agents.id)
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
    from passerelle.agents.rules import Hop

    rules = [_described(rule) for rule in _load(module).rules.values() if not isinstance(rule, Hop)]
    if as_json:
        typer.echo(json.dumps(rules, ensure_ascii=False))
        return
    _show(rules)


def _load(module: str) -> "AgentApp":
    """Import the module's ``city``. Raises `Fault`."""
    import importlib

    from passerelle.agents.app import AgentApp
    from passerelle_schemas.faults import Fault

    try:
        city = getattr(importlib.import_module(module), "city", None)
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
