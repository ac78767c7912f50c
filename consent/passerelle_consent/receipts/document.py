"""Write a record and a receipt as JSON-LD.

The fields are those of ISO/IEC TS 27560:2023 (clause 6: header, processing, parties, event), mapped to the Data Privacy
Vocabulary as its community group's guide does (https://w3id.org/dpv/guides/consent-27560). The context stands in the
document, so that it is read without fetching anything. Where DPV has no word (objections), the term is ours.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from passerelle_consent.policy.agreements import Agreement, Basis
from passerelle_consent.policy.rules import SPECIAL_CLASSES
from passerelle_consent.policy.standing import Actor, State
from passerelle_schemas.catalogue import Catalogue, Text

RECORD_PROFILE = "https://w3id.org/dpv/schema/dpv-27560#record-eu-gdpr"
RECEIPT_PROFILE = "https://w3id.org/dpv/schema/dpv-27560#receipt-eu-gdpr"

CONTEXT = {
    "dpv": "https://w3id.org/dpv#",
    "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
    "legal-eu": "https://w3id.org/dpv/legal/eu#",
    "loc": "https://w3id.org/dpv/loc#",
    "dct": "http://purl.org/dc/terms/",
    "schema": "https://schema.org/",
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

_ALWAYS = ("eu-gdpr:A13", "eu-gdpr:A15", "eu-gdpr:A16", "eu-gdpr:A18", "eu-gdpr:A77")
_RIGHTS: Mapping[Basis, tuple[str, ...]] = {
    Basis.CONSENT: (*_ALWAYS, "eu-gdpr:A7-3", "eu-gdpr:A17", "eu-gdpr:A20"),
    Basis.CONTRACT: (*_ALWAYS, "eu-gdpr:A17", "eu-gdpr:A20"),
    Basis.LEGAL_OBLIGATION: _ALWAYS,
    Basis.VITAL_INTERESTS: (*_ALWAYS, "eu-gdpr:A17"),
    Basis.PUBLIC_TASK: (*_ALWAYS, "eu-gdpr:A21"),
    Basis.LEGITIMATE_INTERESTS: (*_ALWAYS, "eu-gdpr:A17", "eu-gdpr:A21"),
}
"""What a citizen may ask for under each basis (GDPR Chapter III)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Controller:
    """Who answers for the city's processing, and where to turn."""

    name: Text
    address: str
    dpo: str
    """The data protection officer's mail address."""
    privacy: str
    """Where the city tells what it does with data."""
    consent: str
    """The public address of the consent service."""
    departments: Mapping[str, Text]
    jurisdiction: str
    """An ISO 3166-1 code."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """What was said about an agreement, once. Times are epoch milliseconds."""

    id: bytes
    """The change's, the journal entry's and the acknowledgement's."""
    subject: str
    """The portal's pseudonym: what the citizen's own document names the citizen by."""
    portal: str
    state: State
    at_ms: int
    until_ms: int | None
    acknowledged_ms: int | None
    """From when nothing more could be delivered under it, where it took away."""
    by: Actor
    notice: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Issue:
    """What every document is written with."""

    controller: Controller
    catalogue: Catalogue
    policy: bytes
    """The digest of the policy in force."""


def receipt_of(event: Event, agreement: Agreement, issue: Issue, *, language: str, now_ms: int) -> dict[str, Any]:
    """Return the citizen's receipt, which holds the record. ``language``: `fr` or `en`."""
    ident = hashlib.sha256(b"passerelle/receipt\n" + event.id).hexdigest()[:32]
    return {
        "@context": CONTEXT,
        "@id": _urn(ident),
        "@type": "dpv:ConsentReceipt",
        "dct:identifier": ident,
        "dct:conformsTo": {"@id": RECEIPT_PROFILE},
        "dct:created": _instant(now_ms),
        "dct:language": language,
        "dct:publisher": _controller(issue.controller, language),
        "schema:recipient": {"@id": _subject(event)},
        "dpv:hasRecordOfActivity": record_of(event, agreement, issue, language=language),
    }


def record_of(event: Event, agreement: Agreement, issue: Issue, *, language: str) -> dict[str, Any]:
    """Return the record. It stands within a document that has the context."""
    controller = issue.controller
    return {
        "@id": _urn(event.id.hex()),
        "@type": "dpv:ConsentRecord",
        "dct:identifier": event.id.hex(),
        "dct:conformsTo": {"@id": RECORD_PROFILE},
        "dct:created": _instant(event.at_ms),
        "dpv:hasDataSubject": {"@id": _subject(event), "@type": "dpv:DataSubject"},
        "dpv:hasDataController": [
            _party(controller, agreement.source, language),
            _party(controller, agreement.recipient, language),
        ],
        "dpv:hasJurisdiction": {"@id": f"loc:{controller.jurisdiction}"},
        "dpv:hasApplicableLaw": {"@id": "legal-eu:law-GDPR"},
        "dpv:hasNotice": _notice(agreement, event.notice, controller, language),
        "dpv:hasProcess": _process(agreement, issue, language),
        "dpv:hasRight": [{"@id": right} for right in _RIGHTS[agreement.basis]],
        "dpv:hasConsentControl": _control(agreement, controller),
        "dpv:hasConsentStatus": _status(event, issue),
    }


def _process(agreement: Agreement, issue: Issue, language: str) -> dict[str, Any]:
    controller = issue.controller
    basis: dict[str, Any] = {"@id": f"eu-gdpr:A{agreement.basis}", "@type": "dpv:LegalBasis"}
    if agreement.law is not None:
        basis["dct:references"] = agreement.law
    special = agreement.special_category
    legal = [basis, *([{"@id": f"eu-gdpr:A{special}", "@type": "dpv:LegalBasis"}] if special else [])]
    return {
        "@id": f"urn:passerelle:agreement:{agreement.ref}",
        "@type": "dpv:Process",
        "dct:identifier": agreement.ref,
        "dpv:hasPurpose": {
            "@id": agreement.purpose.code,
            "@type": "dpv:Purpose",
            "dct:description": _words(agreement.purpose, language),
        },
        "dpv:hasLegalBasis": legal,
        "dpv:hasProcessing": {"@id": "dpv:Share"},
        "dpv:hasPersonalData": list(_data(agreement, issue.catalogue, language)),
        "dpv:hasDataSource": {"@id": _department(agreement.source)},
        "dpv:hasRecipient": _party(controller, agreement.recipient, language),
        "dpv:hasStorageCondition": {
            "@type": "dpv:StorageDuration",
            "dpv:hasDuration": {"@type": "xsd:duration", "@value": agreement.retention},
        },
        "passerelle:policy": issue.policy.hex(),
    }


def _data(agreement: Agreement, catalogue: Catalogue, language: str) -> Any:
    for type_, coverage in sorted(agreement.events.items()):
        classes = catalogue.by_type(type_).classes if type_ in catalogue else {}
        for field, need in sorted(coverage.fields.items()):
            kind = classes.get(field, "personal")
            special = kind in SPECIAL_CLASSES
            yield {
                "@id": f"urn:passerelle:field:{type_}:{field}",
                "@type": "dpv:SpecialCategoryPersonalData" if special else "dpv:PersonalData",
                "schema:name": field,
                "dct:type": kind,
                "dpv:hasJustification": _words(need, language),
            }


def _notice(agreement: Agreement, version: int | None, controller: Controller, language: str) -> dict[str, Any]:
    """The words as they stand under the version that was shown; of another version the address alone."""
    shown = agreement.notice.version if version is None else version
    consent = agreement.basis is Basis.CONSENT
    told: dict[str, Any] = {
        "@id": f"{controller.consent}/v1/notices/{agreement.id}/{shown}",
        "@type": "dpv:ConsentNotice" if consent else "dpv:PrivacyNotice",
        "schema:version": str(shown),
    }
    if shown == agreement.notice.version:
        words = _words(agreement.notice, language)
        told |= {"dct:description": words, "passerelle:sha256": hashlib.sha256(words["@value"].encode()).hexdigest()}
    return told


def _control(agreement: Agreement, controller: Controller) -> dict[str, Any]:
    """How to withdraw, or to object (TS 27560: withdrawal method)."""
    kind = "dpv:WithdrawConsent" if agreement.basis is Basis.CONSENT else "passerelle:Object"
    action = "withdraw" if agreement.basis is Basis.CONSENT else "object"
    if agreement.basis is not Basis.CONSENT and not agreement.basis.can_be_objected:
        return {"@type": "passerelle:NoControl", "schema:email": controller.dpo}
    return {
        "@type": kind,
        "schema:url": {"@id": f"{controller.consent}/v1/subjects/me/agreements/{agreement.id}/{action}"},
        "schema:email": controller.dpo,
    }


def _status(event: Event, issue: Issue) -> dict[str, Any]:
    said: dict[str, Any] = {
        "@id": f"{_urn(event.id.hex())}#status",
        "@type": STATUS[event.state],
        "dpv:isIndicatedAtTime": _instant(event.at_ms),
        "dpv:isIndicatedBy": {"@id": _subject(event) if event.by is Actor.SUBJECT else f"passerelle:{event.by}"},
        "passerelle:ledgerEntry": event.id.hex(),
        "passerelle:ledger": {"@id": f"{issue.controller.consent}/v1/subjects/me/proof/{event.id.hex()}"},
    }
    if event.until_ms is not None:
        said["dct:valid"] = _instant(event.until_ms)
    if event.acknowledged_ms is not None:
        said["passerelle:inEffectAt"] = _instant(event.acknowledged_ms)
    return said


def _controller(controller: Controller, language: str) -> dict[str, Any]:
    return {
        "@id": "urn:passerelle:controller",
        "@type": "dpv:DataController",
        "schema:name": _words(controller.name, language),
        "schema:address": controller.address,
        "schema:url": {"@id": controller.privacy},
        "dpv:hasDataProtectionOfficer": {
            "@id": "urn:passerelle:dpo",
            "@type": "dpv:DataProtectionOfficer",
            "schema:email": controller.dpo,
        },
    }


def _party(controller: Controller, department: str, language: str) -> dict[str, Any]:
    name = controller.departments.get(department)
    words = {"@value": department} if name is None else _words(name, language)
    return {
        "@id": _department(department),
        "@type": "dpv:DataController",
        "schema:name": words,
        "schema:address": controller.address,
        "schema:email": controller.dpo,
    }


def _department(department: str) -> str:
    return f"urn:passerelle:department:{department}"


def _subject(event: Event) -> str:
    return f"urn:passerelle:subject:{event.portal}:{event.subject}"


def _urn(ident: str) -> str:
    return f"urn:uuid:{ident[:8]}-{ident[8:12]}-{ident[12:16]}-{ident[16:20]}-{ident[20:]}"


def _words(text: Text, language: str) -> dict[str, str]:
    return {"@language": language, "@value": text.en if language == "en" else text.fr}


def _instant(at_ms: int) -> dict[str, str]:
    instant = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return {"@type": "xsd:dateTime", "@value": instant.replace("+00:00", "Z")}
