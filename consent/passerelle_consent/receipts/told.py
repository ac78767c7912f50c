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
_CITED = Text(fr="RGPD, art. {}({})({})", en="GDPR, Art. {}({})({})")
_UNITS = {
    "D": (Text(fr="jour", en="day"), Text(fr="jours", en="days")),
    "W": (Text(fr="semaine", en="week"), Text(fr="semaines", en="weeks")),
    "M": (Text(fr="mois", en="month"), Text(fr="mois", en="months")),
    "Y": (Text(fr="an", en="year"), Text(fr="ans", en="years")),
}
_BRIEF = ("state", "at", "by", "until", "effect", "source", "recipient", "purpose", "basis", "data", "kept", "contact")


def told(receipt: Mapping[str, Any], language: str) -> list[tuple[str, str]]:
    """Return (label, words) line by line. Of a receipt that `seal.open_sealed` returned; ``language``: `fr` or `en`."""
    return [(in_language(LABELS[name], language), words) for name, words in lines(receipt, language) if words]


def brief(receipt: Mapping[str, Any], language: str) -> list[tuple[str, str]]:
    """Return the lines that say the matter, without what one looks up only when one needs it."""
    found = dict(lines(receipt, language))
    return [(in_language(LABELS[name], language), found[name]) for name in _BRIEF if found.get(name)]


def language_of(receipt: Mapping[str, Any]) -> str:
    """Return the language that a receipt, or an export, was written in."""
    return "en" if "en" in (receipt.get("dct:language"), receipt.get("language")) else "fr"


def lines(receipt: Mapping[str, Any], language: str) -> Iterator[tuple[str, str]]:
    """Yield (name in `LABELS`, words); the words are empty where the receipt does not say it."""
    record = at(receipt, "dpv:hasRecordOfActivity")
    process, status = at(record, "dpv:hasProcess"), at(record, "dpv:hasConsentStatus")
    source, recipient = (*all_at(record, "dpv:hasDataController"), None, None)[:2]
    said = [STATES.get(type_) for type_ in all_at(status, "@type") if isinstance(type_, str)]
    yield "state", ", ".join(in_language(state, language) for state in said if state is not None)
    yield "at", moment(at(status, "dpv:isIndicatedAtTime", "@value"), language)
    yield "by", in_language(SPEAKERS.get(text_at(status, "dpv:isIndicatedBy", "@type"), _YOU), language)
    yield "until", _until(at(status, "dpv:hasDuration", "rdf:value"), language)
    yield "effect", moment(at(status, "passerelle:inEffectAt", "@value"), language)
    yield "source", text_at(source, "dpv:hasName", "@value")
    yield "recipient", text_at(recipient, "dpv:hasName", "@value")
    yield "purpose", text_at(process, "dpv:hasPurpose", "dct:description", "@value")
    yield "basis", ", ".join(_basis(b, language) for b in all_at(process, "dpv:hasLegalBasis"))
    yield "law", next((text_at(b, "dct:references") for b in all_at(process, "dpv:hasLegalBasis")), "")
    yield "data", "\n".join(_datum(d) for d in all_at(process, "dpv:hasPersonalData"))
    conditions = all_at(process, "dpv:hasStorageCondition")
    yield "kept", ", ".join(filter(None, (_period(at(c, "dpv:hasDuration", "@value"), language) for c in conditions)))
    yield "where", ", ".join(_tail(text_at(p, "@id")) for c in conditions for p in all_at(c, "dpv:hasLocation"))
    yield "control", text_at(record, "dpv:hasConsentControl", "dpv:isExercisedAt", "@id")
    yield "address", text_at(recipient, "dpv:hasAddress")
    yield "contact", text_at(record, "dpv:hasConsentControl", "dpv:hasContact")
    authority = at(record, "dpv:hasAuthority")
    yield "authority", f"{text_at(authority, 'dpv:hasName')} {text_at(authority, 'schema:url', '@id')}".strip()
    yield "notice", text_at(record, "dpv:hasNotice", "dct:description", "@value")
    yield "agreement", text_at(process, "dct:identifier")
    yield "proof", text_at(status, "passerelle:ledger", "@id")
    yield "receipt", text_at(receipt, "dct:identifier")


def at(value: Any, *path: str) -> Any:
    """Return what stands at a path, None if nothing does."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def all_at(value: Any, name: str) -> list[Any]:
    """Return all that stands under a name: one value and a list of one are the same in JSON-LD."""
    found = at(value, name)
    return found if isinstance(found, list) else [] if found is None else [found]


def text_at(value: Any, *path: str) -> str:
    """Return the text at a path, an empty one where there is none."""
    found = at(value, *path)
    return found if isinstance(found, str) else ""


def in_language(text: Text, language: str) -> str:
    """Return the words in a language."""
    return text.en if language == "en" else text.fr


def _tail(name: str) -> str:
    return name.rpartition(":")[2]


def _basis(basis: Any, language: str) -> str:
    broader = text_at(basis, "skos:broader", "@id")
    article = _ARTICLE.fullmatch(broader)
    if article is None:
        return broader
    cited = in_language(_CITED, language).format(*article.groups())
    return f"{in_language(BASES[broader], language)} ({cited})" if broader in BASES else cited


def _datum(datum: Any) -> str:
    name, need = text_at(datum, "schema:name"), text_at(datum, "dpv:hasJustification", "@value")
    return f"{name} — {need}" if need else name


def _until(value: Any, language: str) -> str:
    read = text_at(value, "@value")
    if text_at(value, "@type") != "xsd:dateTime":
        return read
    return in_language(Text(fr="jusqu’au {}", en="until {}"), language).format(moment(read, language))


def moment(read: Any, language: str) -> str:
    """Return a date and a time of UTC as people write them, an empty text for what is none."""
    try:
        at = datetime.fromisoformat(read)
    except (TypeError, ValueError):
        return ""
    return f"{at:%d/%m/%Y à %H:%M:%S} (UTC)" if language == "fr" else f"{at:%Y-%m-%d %H:%M:%S} (UTC)"


def _period(read: Any, language: str) -> str:
    """A period (ISO 8601), in words."""
    parts = re.findall(r"(\d+)([DWMY])", read) if isinstance(read, str) else []
    return " ".join(f"{n} {in_language(_UNITS[unit][n != '1'], language)}" for n, unit in parts)
