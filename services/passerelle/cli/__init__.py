"""The command line: one module for each group of commands. Heavy imports stand inside the functions that need them."""

import os
import sys

import typer
from rich.console import Console

from passerelle.cli import (
    agents,
    city,
    consent,
    contracts,
    deadletters,
    doctor,
    gate,
    inbox,
    kafka,
    ledger,
    policy,
    publish,
    receipt,
    scaffold,
    up,
    web,
)
from passerelle_schemas.faults import Fault

app = typer.Typer(
    name="passerelle",
    help="A city's consent-first event bus.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group, module in {
    "kafka": kafka,
    "city": city,
    "contracts": contracts,
    "publish": publish,
    "inbox": inbox,
    "deadletters": deadletters,
    "consent": consent,
    "policy": policy,
    "gate": gate,
    "agents": agents,
    "ledger": ledger,
    "receipt": receipt,
    "department": scaffold,
    "web": web,
}.items():
    app.add_typer(module.app, name=group)
for command in (scaffold.init, up.up, up.down, up.status, doctor.doctor):
    app.command()(command)


def main() -> None:
    """Run a command. A `Fault` is one line and a hint, never a traceback; Ctrl-C ends with 130."""
    try:
        app()
    except Fault as fault:
        tell(fault)
        sys.exit(fault.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output is gone (`| head`): nothing is left to say, and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def tell(fault: Fault) -> None:
    """Print what was wrong and what to do, on standard error."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"passerelle: {fault}", style="red", markup=False)
    if fault.hint:
        console.print(f"  → {fault.hint}", markup=False)
