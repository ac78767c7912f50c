"""`passerelle receipt`: read and check a receipt or an export, offline."""

import json
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from passerelle.cli.printable import printable

if TYPE_CHECKING:
    from passerelle_consent.receipts.seal import Kind, Opened

app = typer.Typer(help="Receipts of what a citizen said.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="A receipt or an export, as it was handed out (JWS); `-`: standard input.")]
Keys = Annotated[
    Path | None, typer.Option(help="The city's public keys, a JWK set; else those that this home publishes.")
]


class Language(StrEnum):
    """The languages of the city."""

    FR = "fr"
    EN = "en"


HEADS: Mapping[tuple[str, Language], str] = {
    ("RECEIPT", Language.FR): "Reçu valide : signé par la ville, et tel qu’elle l’a signé.",
    ("RECEIPT", Language.EN): "Valid receipt: signed by the city, and as it was signed.",
    ("EXPORT", Language.FR): "Export valide : signé par la ville, et tel qu’elle l’a signé.",
    ("EXPORT", Language.EN): "Valid export: signed by the city, and as it was signed.",
}


@app.command()
def verify(
    receipt: File,
    *,
    keys: Keys = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was signed.")] = False,
) -> None:
    """Check a receipt, or an export, against the public keys, and say what it says.

    Of an export the receipts within are checked too. Exit codes: 0 valid, 1 not, 2 cannot tell.
    """
    from passerelle_consent.receipts import exported, told
    from passerelle_consent.receipts.seal import Kind

    opened = _opened(receipt, keys)
    if as_json:
        typer.echo(json.dumps(opened.content, ensure_ascii=False, indent=2))
        return
    language = Language(told.language_of(opened.content))
    brief = told.brief if opened.kind is Kind.RECEIPT else exported.brief
    _print(_head(opened.kind, language), brief(opened.content, language))


@app.command()
def show(
    receipt: File,
    *,
    keys: Keys = None,
    lang: Annotated[Language | None, typer.Option(help="Of the labels [the receipt's own].")] = None,
) -> None:
    """Show all that a receipt, or an export, says, for people, once it is found valid. Exit codes: as `verify`.

    The city's own words (purposes, notices) are shown as they were signed: in the receipt's language.
    """
    from passerelle_consent.receipts import exported, told
    from passerelle_consent.receipts.seal import Kind

    opened = _opened(receipt, keys)
    language = lang or Language(told.language_of(opened.content))
    tell = told.told if opened.kind is Kind.RECEIPT else exported.told
    _print(_head(opened.kind, language), tell(opened.content, language))


def _head(kind: "Kind", language: Language) -> str:
    return HEADS[kind.name, language]


def _opened(receipt: Path, keys: Path | None) -> "Opened":
    """Return what was signed, if it is valid. Raises `BadReceipt`, `UnknownKeys`."""
    from passerelle.config import settings
    from passerelle.receipt_keys import read_key_set
    from passerelle_consent.receipts.exported import check_receipts
    from passerelle_consent.receipts.keys import UnknownKeys
    from passerelle_consent.receipts.seal import BadReceipt, Kind, open_sealed

    text = _text(receipt)
    known = keys or settings().home.receipt_keys
    try:
        key_set = read_key_set(known)
        _tell_unreadable(known, key_set.unreadable())
        opened = open_sealed(text, key_set)
        if opened.kind is Kind.EXPORT:
            check_receipts(opened.content, key_set)
    except BadReceipt as fault:
        raise BadReceipt(fault.what, where=str(receipt), hint=fault.hint) from None
    except UnknownKeys as fault:
        raise UnknownKeys(fault.what, where=str(known), hint="take them from the city: GET /v1/keys") from None
    return opened


def _tell_unreadable(keys: Path, names: tuple[str, ...]) -> None:
    for name in names:
        typer.echo(f"passerelle: {keys}: {name} cannot be read and is left out", err=True)


def _text(path: Path) -> str:
    """Read no more than a receipt or an export may be long."""
    from passerelle_consent.receipts.seal import SEALED_CHARACTERS_MAX, BadReceipt
    from passerelle_schemas.faults import Fault

    try:
        with sys.stdin.buffer if str(path) == "-" else path.open("rb") as file:
            return file.read(SEALED_CHARACTERS_MAX + 1).decode("ascii")
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
        table.add_row(label, Text(printable(words)))
    console = Console(highlight=False)
    console.print(head, style="green")
    console.print(table)
