"""`passerelle ledger rotate-master`: another key over every subject's key, and the old one destroyed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from threading import Event

    from passerelle.masters import MasterFiles
    from passerelle_consent.ledger.database.store import Store

INTERRUPTED = 130
"""128 + SIGINT, as shells say it."""

PAUSE_S = 0.02
"""After each batch, so that an integrator on SQLite, where who waits longest is not first, has its turn."""


def rotate_master(
    *,
    keep_old: Annotated[
        bool,
        typer.Option("--keep-old", help="Keep the old key, for older backups; the next rotation without this ends it."),
    ] = False,
) -> None:
    """Put every subject's key under a new master key, beside a running ledger; then destroy the old master.

    Interrupted at any moment nothing is lost; run it again to go on. Older backups of the database need the old one.
    """
    import os

    from passerelle.cli.queries import stopped_by_signal
    from passerelle.config import settings
    from passerelle.masters import MasterFiles
    from passerelle_consent.ledger.database.store import Store

    here, stop = settings(), stopped_by_signal()
    files, store = MasterFiles(here.home.keys), Store(here.ledger_store_url())
    try:
        with files.alone():
            rotated = _rotate(files, store, os.urandom, stop, keep_old=keep_old)
    finally:
        store.close()
    old = "the old one is kept" if keep_old else "the old one is destroyed"
    typer.echo(f"master key {files.current().id}: {rotated} subjects' keys wrapped anew, {old}")


def _rotate(
    files: "MasterFiles", store: "Store", random: Callable[[int], bytes], stop: "Event", *, keep_old: bool
) -> int:
    """Begin or go on; return how many keys were wrapped anew."""
    from passerelle_consent.ledger.database.rewrap import retire, rewrap, waiting

    if files.advancing or not waiting(store, files.current()):
        files.advance()
    current, rotated = files.current(), 0
    with _progress(waiting(store, current)) as advance:

        def done(keys: int) -> bool:
            nonlocal rotated
            rotated += keys
            advance(keys)
            return not stop.wait(PAUSE_S)

        while True:
            through = rewrap(store, files, random, done)
            if not through and (left := waiting(store, current)):
                typer.echo(f"stopped: {left} keys are left; run it again to go on", err=True)
                raise typer.Exit(INTERRUPTED)
            if retire(store, current, _nothing if keep_old else files.destroy_others):
                return rotated


def _nothing() -> None:
    pass


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """On the terminal's error channel."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Wrapping anew", total=total)
        yield lambda keys: progress.advance(task, keys)
