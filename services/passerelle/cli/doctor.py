"""`passerelle doctor`: what this machine lacks, and the command that installs it."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

MARKS = {True: "well", False: "no", None: "look"}


def doctor(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Look at Java, Maven, versions, ports, disk, memory and clock. Exit code 1: a city cannot run here as it is."""
    from passerelle.city.doctor import examine
    from passerelle.config import settings

    here = settings()
    found = []
    for one in examine(here.home, here.manifest_path):
        found.append(one)
        if as_json:
            continue
        typer.echo(f"{MARKS[one.well]:<5}{one.what:<10}{one.how}")
        if one.hint and one.well is not True:
            typer.echo(f"     → {one.hint}")
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], ensure_ascii=False))
    raise typer.Exit(1 if any(one.well is False for one in found) else 0)
