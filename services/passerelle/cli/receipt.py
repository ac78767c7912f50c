"""`passerelle receipt`: read and check a receipt, offline."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Receipts of what a citizen said.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="The receipt as it was handed out (JWS).")]
Keys = Annotated[
    Path | None, typer.Option(help="The city's public keys, a JWK set; else those that this home publishes.")
]


@app.callback()
def _group() -> None:
    """Keep `verify` a sub-command while it is the only one."""


@app.command()
def verify(
    receipt: File,
    *,
    keys: Keys = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the receipt as JSON-LD.")] = False,
) -> None:
    """Check a receipt against the public keys, and say what it says. Exit codes: 0 valid, 1 not, 2 cannot tell."""
    opened = _opened(receipt, keys)
    if as_json:
        typer.echo(json.dumps(opened, ensure_ascii=False, indent=2))
    else:
        _show(opened)


def _opened(receipt: Path, keys: Path | None) -> dict[str, Any]:
    """Return the receipt if it is valid. Raises `BadReceipt`, `UnknownKeys`."""
    from passerelle.config import settings
    from passerelle.receipt_keys import read_key_set
    from passerelle_consent.receipts.keys import UnknownKeys
    from passerelle_consent.receipts.seal import BadReceipt, open_sealed

    text = _text(receipt)
    known = keys or settings().home.receipt_keys
    try:
        key_set = read_key_set(known)
        _tell_unreadable(known, key_set.unreadable())
        return open_sealed(text, key_set)
    except BadReceipt as fault:
        raise BadReceipt(fault.what, where=str(receipt), hint=fault.hint) from None
    except UnknownKeys as fault:
        raise UnknownKeys(fault.what, where=str(known), hint="take them from the city: GET /v1/keys") from None


def _tell_unreadable(keys: Path, names: tuple[str, ...]) -> None:
    for name in names:
        typer.echo(f"passerelle: {keys}: {name} cannot be read and is left out", err=True)


def _text(path: Path) -> str:
    """Read no more than a receipt may be long."""
    from passerelle_consent.receipts.seal import RECEIPT_CHARACTERS_MAX, BadReceipt
    from passerelle_schemas.faults import Fault

    try:
        with path.open("rb") as file:
            return file.read(RECEIPT_CHARACTERS_MAX + 1).decode("ascii")
    except UnicodeDecodeError:
        raise BadReceipt("is no receipt: it holds other bytes than a receipt has", where=str(path)) from None
    except OSError as exc:
        raise Fault(f"cannot be read: {exc.strerror}", where=str(path)) from None


def _show(opened: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from passerelle_consent.receipts.told import brief, language_of

    language = language_of(opened)
    table = Table(show_header=False, box=None, pad_edge=False)
    for label, words in brief(opened, language):
        table.add_row(label, words)
    console = Console(highlight=False)
    console.print("Valid receipt." if language == "en" else "Reçu valide.", style="green")
    console.print(table)
