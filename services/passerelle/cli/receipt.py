"""`passerelle receipt`: read and check a receipt, offline."""

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Receipts of what a citizen said.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="The receipt as it was handed out (JWS).")]
Keys = Annotated[
    Path | None, typer.Option(help="The city's public keys, a JWK set; else those that this home publishes.")
]


class Language(StrEnum):
    """The languages of the city."""

    FR = "fr"
    EN = "en"


@app.command()
def verify(
    receipt: File,
    *,
    keys: Keys = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the receipt as JSON-LD.")] = False,
) -> None:
    """Check a receipt against the public keys, and say what it says. Exit codes: 0 valid, 1 not, 2 cannot tell."""
    from passerelle_consent.receipts.told import brief, language_of

    opened = _opened(receipt, keys)
    if as_json:
        typer.echo(json.dumps(opened, ensure_ascii=False, indent=2))
        return
    language = language_of(opened)
    _print("Valid receipt." if language == Language.EN else "Reçu valide.", brief(opened, language))


@app.command()
def show(
    receipt: File,
    *,
    keys: Keys = None,
    lang: Annotated[Language | None, typer.Option(help="Of the labels [the receipt's own].")] = None,
) -> None:
    """Show all that a receipt says, for people, once it is found valid. Exit codes: as `verify`.

    The city's own words (purposes, notices) are shown as they were signed: in the receipt's language.
    """
    from passerelle_consent.receipts.told import language_of, told

    opened = _opened(receipt, keys)
    language = lang or language_of(opened)
    head = "Receipt, valid: signed by the city." if language == Language.EN else "Reçu valide : signé par la ville."
    _print(head, told(opened, language))


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


def _print(head: str, lines: Sequence[tuple[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for label, words in lines:
        table.add_row(label, Text(_printable(words)))
    console = Console(highlight=False)
    console.print(head, style="green")
    console.print(table)


def _printable(words: str) -> str:
    """Whoever signed it, nothing in it steers a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in words)
