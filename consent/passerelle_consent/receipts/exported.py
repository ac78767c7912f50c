"""What an export says, in plain words: labels in French or English. Each receipt within is checked on its own too."""

from collections.abc import Iterator, Mapping
from typing import Any

from passerelle_consent.receipts.keys import KeySet
from passerelle_consent.receipts.seal import BadReceipt, Kind, open_sealed
from passerelle_consent.receipts.told import all_at, at, in_language, moment, text_at
from passerelle_schemas.catalogue import Text

LABELS: Mapping[str, Text] = {
    "at": Text(fr="Exporté le", en="Exported on"),
    "whose": Text(fr="De", en="Of"),
    "part": Text(fr="Partie", en="Part"),
    "whole": Text(fr="Complet", en="Complete"),
    "changes": Text(fr="Ce qui a été dit", en="What was said"),
    "receipts": Text(fr="Reçus, tous valides", en="Receipts, all valid"),
    "guardianships": Text(fr="Représentants", en="Guardians"),
    "overrides": Text(fr="Ouvertures d’urgence", en="Overrides"),
    "notices": Text(fr="Avis de la ville", en="Notices of the city"),
    "next": Text(fr="Suite", en="Continued"),
}
_WHOLE = {True: Text(fr="oui", en="yes"), False: Text(fr="non", en="no")}


def check_receipts(export: Mapping[str, Any], keys: KeySet) -> None:
    """Check what may be passed on alone. Raises `BadReceipt`, `UnknownKeys`."""
    for compact in _receipts(export):
        if open_sealed(compact, keys).kind is not Kind.RECEIPT:
            raise BadReceipt("holds something else in the place of a receipt")


def brief(export: Mapping[str, Any], language: str) -> list[tuple[str, str]]:
    """Return (label, words) line by line: of whom it is, when it was made, how much stands in it."""
    lines = {
        "at": moment(at(export, "exported_at"), language),
        "whose": " ".join(filter(None, (text_at(export, "portal"), text_at(export, "pseudonym")))),
        "part": str(at(export, "part") or ""),
        "whole": in_language(_WHOLE[at(export, "complete") is True], language),
        "changes": str(len(all_at(export, "changes"))),
        "receipts": str(sum(1 for _ in _receipts(export))),
        **{name: str(len(all_at(export, name))) for name in ("guardianships", "overrides", "notices")},
        "next": text_at(export, "next"),
    }
    return [(in_language(LABELS[name], language), words) for name, words in lines.items() if words]


def told(export: Mapping[str, Any], language: str) -> list[tuple[str, str]]:
    """Return `brief`, and a line for each thing that was said, the newest first."""
    said = [at(change, "said") for change in all_at(export, "changes")]
    return [*brief(export, language), *((moment(at(s, "recorded_at"), language), _said(s)) for s in said)]


def _said(said: Any) -> str:
    about = text_at(said, "agreement") or text_at(said, "recipient")
    return " · ".join(filter(None, (text_at(said, "kind"), text_at(said, "state"), about)))


def _receipts(export: Mapping[str, Any]) -> Iterator[str]:
    for change in all_at(export, "changes"):
        compact = text_at(change, "receipt")
        if compact:
            yield compact
