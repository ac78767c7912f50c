"""`passerelle gate`: workers of the gate."""

from typing import Annotated

import typer

app = typer.Typer(help="The gate: decide, redact, release.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `run` a sub-command while it is the only one."""


@app.command()
def run(
    *,
    worker: Annotated[str, typer.Option(help="This worker's name in logs and fence marks.", metavar="NAME")] = "gate",
    interval_ms: Annotated[int, typer.Option(min=1, max=1_000, help="How long a batch may gather.")] = 20,
    session_ms: Annotated[
        int, typer.Option(min=1_000, max=60_000, help="Silence after which its partitions go to another worker.")
    ] = 6_000,
    transaction_timeout_ms: Annotated[
        int, typer.Option(min=2_000, max=60_000, help="Silence after which the broker aborts a transaction.")
    ] = 10_000,
    patience_s: Annotated[
        float, typer.Option(min=1.0, help="How long to go on without success before ending with 75, in seconds.")
    ] = 120.0,
) -> None:
    """Run one worker until SIGTERM or Ctrl-C. Ends with 75 when its supervisor should start it again."""
    from passerelle.gate.clients import Timings
    from passerelle.gate.run import serve

    serve(
        worker,
        Timings(
            interval_ms=interval_ms,
            session_ms=session_ms,
            transaction_ms=transaction_timeout_ms,
            patience_s=patience_s,
        ),
    )
