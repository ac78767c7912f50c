"""What a receipt says, in plain words: labels in French or English, the city's own words as it signed them.

A receipt is read as it is: of one that was written by another version, what is not there is not told.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from passerelle_schemas.catalogue import Text

LABELS: Mapping[str, Text] = {
    "state": Text(fr="Ce qui a été dit", en="What was said"),
    "at": Text(fr="Quand", en="When"),
    "by": Text(fr="Par", en="By"),
    "until": Text(fr="Valable", en="Holds"),
    "effect": Text(fr="En effet depuis", en="In effect since"),
    "source": Text(fr="Données de", en="Data of"),
    "recipient": Text(fr="Transmises à", en="Shared with"),
    "purpose": Text(fr="Pour", en="For"),
    "basis": Text(fr="Base légale", en="Legal basis"),
    "law": Text(fr="Texte", en="Law"),
    "data": Text(fr="Quelles données", en="Which data"),
    "kept": Text(fr="Conservées", en="Kept for"),
    "where": Text(fr="Pays", en="Country"),
    "control": Text(fr="Pour changer d’avis", en="To change your mind"),
    "address": Text(fr="Adresse du destinataire", en="Recipient's address"),
    "contact": Text(fr="Délégué à la protection des données", en="Data protection officer"),
    "authority": Text(fr="Réclamations", en="Complaints"),
    "notice": Text(fr="Ce qui vous a été dit", en="What you were told"),
    "agreement": Text(fr="Accord de partage", en="Agreement"),
    "proof": Text(fr="Preuve au registre", en="Proof in the ledger"),
    "receipt": Text(fr="Reçu", en="Receipt"),
}

STATES: Mapping[str, Text] = {
    "dpv:ConsentUnknown": Text(fr="rien", en="nothing"),
    "dpv:ConsentRequested": Text(fr="accord demandé", en="consent requested"),
    "dpv:ConsentRequestDeferred": Text(fr="réponse remise à plus tard", en="answer put off"),
    "dpv:ConsentGiven": Text(fr="accord donné", en="consent given"),
    "dpv:RenewedConsentGiven": Text(fr="accord renouvelé", en="consent renewed"),
    "dpv:ConsentRefused": Text(fr="accord refusé", en="consent refused"),
    "dpv:ConsentExpired": Text(fr="accord arrivé à son terme", en="consent expired"),
    "dpv:ConsentWithdrawn": Text(fr="accord retiré", en="consent withdrawn"),
    "dpv:ConsentRevoked": Text(fr="accord annulé", en="consent revoked"),
    "dpv:ConsentInvalidated": Text(fr="accord devenu sans objet", en="consent invalidated"),
    "passerelle:Objected": Text(fr="opposition", en="objection"),
    "passerelle:Resumed": Text(fr="partage repris", en="sharing resumed"),
}

SPEAKERS: Mapping[str, Text] = {
    "dpv:GuardianOfDataSubject": Text(fr="la personne qui vous représente", en="your guardian"),
    "dpv:Representative": Text(fr="un agent du service", en="an officer of the department"),
}
_YOU = Text(fr="vous", en="you")

BASES: Mapping[str, Text] = {
    "eu-gdpr:A6-1-a": Text(fr="votre accord", en="your consent"),
    "eu-gdpr:A6-1-b": Text(fr="un contrat avec vous", en="a contract with you"),
    "eu-gdpr:A6-1-c": Text(fr="une obligation légale", en="a legal obligation"),
    "eu-gdpr:A6-1-d": Text(fr="la sauvegarde d’intérêts vitaux", en="vital interests"),
    "eu-gdpr:A6-1-e": Text(fr="une mission de service public", en="a public task"),
    "eu-gdpr:A6-1-f": Text(fr="un intérêt légitime", en="a legitimate interest"),
}
_ARTICLE = re.compile(r"eu-gdpr:A(\d+)-(\d+)-([a-z])")
_UNITS = {
    "D": (Text(fr="jour", en="day"), Text(fr="jours", en="days")),
    "W": (Text(fr="semaine", en="week"), Text(fr="semaines", en="weeks")),
    "M": (Text(fr="mois", en="month"), Text(fr="mois", en="months")),
    "Y": (Text(fr="an", en="year"), Text(fr="ans", en="years")),
}
_BRIEF = ("state", "at", "by", "until", "effect", "source", "recipient", "purpose", "basis", "data", "kept", "contact")


def told(receipt: Mapping[str, Any], language: str) -> list[tuple[str, str]]:
    """Return (label, words) line by line. Of a receipt that `seal.open_sealed` returned; ``language``: `fr` or `en`."""
    return [(_in(LABELS[name], language), words) for name, words in _lines(receipt, language) if words]


def brief(receipt: Mapping[str, Any], language: str) -> list[tuple[str, str]]:
    """Return the lines that say the matter, without what one looks up only when one needs it."""
    lines = dict(_lines(receipt, language))
    return [(_in(LABELS[name], language), lines[name]) for name in _BRIEF if lines.get(name)]


def language_of(receipt: Mapping[str, Any]) -> str:
    """Return the language that a receipt was written in."""
    return "en" if receipt.get("dct:language") == "en" else "fr"


def _lines(receipt: Mapping[str, Any], language: str) -> Iterator[tuple[str, str]]:
    record = _at(receipt, "dpv:hasRecordOfActivity")
    process, status = _at(record, "dpv:hasProcess"), _at(record, "dpv:hasConsentStatus")
    source, recipient = (*_all(record, "dpv:hasDataController"), None, None)[:2]
    said = [STATES.get(type_) for type_ in _all(status, "@type") if isinstance(type_, str)]
    yield "state", ", ".join(_in(state, language) for state in said if state is not None)
    yield "at", _instant(_at(status, "dpv:isIndicatedAtTime", "@value"), language)
    yield "by", _in(SPEAKERS.get(_text(status, "dpv:isIndicatedBy", "@type"), _YOU), language)
    yield "until", _until(_at(status, "dpv:hasDuration", "rdf:value"), language)
    yield "effect", _instant(_at(status, "passerelle:inEffectAt", "@value"), language)
    yield "source", _text(source, "dpv:hasName", "@value")
    yield "recipient", _text(recipient, "dpv:hasName", "@value")
    yield "purpose", _text(process, "dpv:hasPurpose", "dct:description", "@value")
    yield "basis", ", ".join(_basis(b, language) for b in _all(process, "dpv:hasLegalBasis"))
    yield "law", next((_text(b, "dct:references") for b in _all(process, "dpv:hasLegalBasis")), "")
    yield "data", "\n".join(_datum(d) for d in _all(process, "dpv:hasPersonalData"))
    conditions = _all(process, "dpv:hasStorageCondition")
    yield "kept", ", ".join(filter(None, (_period(_at(c, "dpv:hasDuration", "@value"), language) for c in conditions)))
    yield "where", ", ".join(_tail(_text(p, "@id")) for c in conditions for p in _all(c, "dpv:hasLocation"))
    yield "control", _text(record, "dpv:hasConsentControl", "dpv:isExercisedAt", "@id")
    yield "address", _text(recipient, "dpv:hasAddress")
    yield "contact", _text(record, "dpv:hasConsentControl", "dpv:hasContact")
    authority = _at(record, "dpv:hasAuthority")
    yield "authority", f"{_text(authority, 'dpv:hasName')} {_text(authority, 'schema:url', '@id')}".strip()
    yield "notice", _text(record, "dpv:hasNotice", "dct:description", "@value")
    yield "agreement", _text(process, "dct:identifier")
    yield "proof", _text(status, "passerelle:ledger", "@id")
    yield "receipt", _text(receipt, "dct:identifier")


def _at(value: Any, *path: str) -> Any:
    """Return what stands at a path, None if nothing does."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _all(value: Any, name: str) -> list[Any]:
    found = _at(value, name)
    return found if isinstance(found, list) else [] if found is None else [found]


def _text(value: Any, *path: str) -> str:
    found = _at(value, *path)
    return found if isinstance(found, str) else ""


def _in(text: Text, language: str) -> str:
    return text.en if language == "en" else text.fr


def _tail(name: str) -> str:
    return name.rpartition(":")[2]


def _basis(basis: Any, language: str) -> str:
    broader = _text(basis, "skos:broader", "@id")
    article = _ARTICLE.fullmatch(broader)
    if article is None:
        return broader
    cited = _in(Text(fr="RGPD, art. {}({})({})", en="GDPR, Art. {}({})({})"), language).format(*article.groups())
    return f"{_in(BASES[broader], language)} ({cited})" if broader in BASES else cited


def _datum(datum: Any) -> str:
    name, need = _text(datum, "schema:name"), _text(datum, "dpv:hasJustification", "@value")
    return f"{name} — {need}" if need else name


def _until(value: Any, language: str) -> str:
    read = _text(value, "@value")
    if _text(value, "@type") != "xsd:dateTime":
        return read
    return _in(Text(fr="jusqu’au {}", en="until {}"), language).format(_instant(read, language))


def _instant(read: Any, language: str) -> str:
    """A date and a time of UTC, as people write them."""
    try:
        at = datetime.fromisoformat(read)
    except (TypeError, ValueError):
        return ""
    return f"{at:%d/%m/%Y à %H:%M:%S} (UTC)" if language == "fr" else f"{at:%Y-%m-%d %H:%M:%S} (UTC)"


def _period(read: Any, language: str) -> str:
    """A period (ISO 8601), in words."""
    parts = re.findall(r"(\d+)([DWMY])", read) if isinstance(read, str) else []
    return " ".join(f"{n} {_in(_UNITS[unit][n != '1'], language)}" for n, unit in parts)
