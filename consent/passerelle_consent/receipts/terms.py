"""The words of a receipt: which terms of the Data Privacy Vocabulary stand for ours, and how values are written.

DPV's own terms are named, never spoken about: what is particular to an agreement or an event hangs on a node of ours
that has DPV's as its type or its broader term.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from passerelle_consent.policy.agreements import Basis
from passerelle_consent.policy.standing import Actor, State
from passerelle_schemas.catalogue import Text

CONTEXT = {
    "dpv": "https://w3id.org/dpv#",
    "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
    "legal-eu": "https://w3id.org/dpv/legal/eu#",
    "loc": "https://w3id.org/dpv/loc#",
    "dct": "http://purl.org/dc/terms/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "schema": "https://schema.org/",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "passerelle": "urn:passerelle:vocabulary#",
}

STATUS: Mapping[State, str] = {
    State.UNKNOWN: "dpv:ConsentUnknown",
    State.REQUESTED: "dpv:ConsentRequested",
    State.DEFERRED: "dpv:ConsentRequestDeferred",
    State.GIVEN: "dpv:ConsentGiven",
    State.RENEWED: "dpv:RenewedConsentGiven",
    State.REFUSED: "dpv:ConsentRefused",
    State.EXPIRED: "dpv:ConsentExpired",
    State.WITHDRAWN: "dpv:ConsentWithdrawn",
    State.REVOKED: "dpv:ConsentRevoked",
    State.INVALIDATED: "dpv:ConsentInvalidated",
    State.OBJECTED: "passerelle:Objected",
    State.RESUMED: "passerelle:Resumed",
}
"""TS 27560, event state. DPV has no word for objections: those two are ours."""

EXPLICIT = "dpv:ExplicitlyExpressedConsent"
OBJECTION = "passerelle:Objection"

_ANSWER = Text(fr="jusqu’à votre réponse", en="until you answer")
_ANEW = Text(fr="jusqu’à un nouvel accord de votre part", en="until you consent anew")
_WITHDRAWAL = Text(fr="jusqu’à ce que vous le retiriez", en="until you withdraw it")
LASTS: Mapping[State, Text] = {
    State.UNKNOWN: _ANSWER,
    State.REQUESTED: _ANSWER,
    State.DEFERRED: _ANSWER,
    State.GIVEN: _WITHDRAWAL,
    State.RENEWED: _WITHDRAWAL,
    State.REFUSED: _ANEW,
    State.EXPIRED: _ANEW,
    State.WITHDRAWN: _ANEW,
    State.REVOKED: _ANEW,
    State.INVALIDATED: _ANEW,
    State.OBJECTED: Text(
        fr="jusqu’à la réponse motivée du service", en="until the department answers, with its reason"
    ),
    State.RESUMED: Text(fr="jusqu’à une nouvelle opposition de votre part", en="until you object again"),
}
"""TS 27560, validity duration, where no date ends it."""

SPEAKER: Mapping[Actor, str] = {
    Actor.SUBJECT: "dpv:DataSubject",
    Actor.GUARDIAN: "dpv:GuardianOfDataSubject",
    Actor.OFFICER: "dpv:Representative",
}
"""An officer speaks for a department, the controller."""

# The recipient has the data from another department: Art. 14, not 13, says what the citizen is told.
_ALWAYS = ("eu-gdpr:A14", "eu-gdpr:A15", "eu-gdpr:A16", "eu-gdpr:A18", "eu-gdpr:A77")
RIGHTS: Mapping[Basis, tuple[str, ...]] = {
    Basis.CONSENT: (*_ALWAYS, "eu-gdpr:A7-3", "eu-gdpr:A17", "eu-gdpr:A20"),
    Basis.CONTRACT: (*_ALWAYS, "eu-gdpr:A17", "eu-gdpr:A20"),
    Basis.LEGAL_OBLIGATION: _ALWAYS,
    Basis.VITAL_INTERESTS: (*_ALWAYS, "eu-gdpr:A17"),
    Basis.PUBLIC_TASK: (*_ALWAYS, "eu-gdpr:A21"),
    Basis.LEGITIMATE_INTERESTS: (*_ALWAYS, "eu-gdpr:A17", "eu-gdpr:A21"),
}
"""What a citizen may ask for under each basis (GDPR Chapter III)."""


def words(text: Text, language: str) -> dict[str, str]:
    """``language``: `fr` or `en`."""
    return {"@language": language, "@value": text.en if language == "en" else text.fr}


def instant(at_ms: int) -> dict[str, str]:
    """Return an instant of UTC, of epoch milliseconds."""
    read = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return {"@type": "xsd:dateTime", "@value": read.replace("+00:00", "Z")}


def place(country: str) -> dict[str, str]:
    """``country``: an ISO 3166-1 code."""
    return {"@id": f"loc:{country}"}


def uuid_urn(ident: str) -> str:
    """``ident``: 16 bytes as hexadecimal."""
    return f"urn:uuid:{ident[:8]}-{ident[8:12]}-{ident[12:16]}-{ident[16:20]}-{ident[20:]}"
