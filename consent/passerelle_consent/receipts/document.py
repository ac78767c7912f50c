"""Write a record and a receipt as JSON-LD.

The fields are those of ISO/IEC TS 27560:2023 (clause 6.3: header, processing, parties, event), mapped to the Data
Privacy Vocabulary as its community group's guide does (https://w3id.org/dpv/guides/consent-27560). The context stands
in the document, so that it is read without fetching anything.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from passerelle_consent.policy.agreements import Agreement, Basis
from passerelle_consent.policy.standing import Actor, State
from passerelle_consent.receipts.parties import Controller, authority, city, department_urn, parties
from passerelle_consent.receipts.process import agreement_urn, process_of
from passerelle_consent.receipts.terms import (
    CONTEXT,
    EXPLICIT,
    LASTS,
    OBJECTION,
    RIGHTS,
    SPEAKER,
    STATUS,
    instant,
    place,
    uuid_urn,
    words,
)
from passerelle_schemas.catalogue import Catalogue

RECORD_PROFILE = "https://w3id.org/dpv/schema/dpv-27560#record-eu-gdpr"
RECEIPT_PROFILE = "https://w3id.org/dpv/schema/dpv-27560#receipt-eu-gdpr"


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
    department: str
    """At whose portal or counter it was said."""
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
        "@id": uuid_urn(ident),
        "@type": "dpv:ConsentReceipt",
        "dct:identifier": ident,
        "dct:conformsTo": {"@id": RECEIPT_PROFILE},
        "dct:created": instant(now_ms),
        "dct:language": language,
        "dct:publisher": city(issue.controller, language),
        "schema:recipient": {"@id": _subject(event)},
        "dpv:hasRecordOfActivity": record_of(event, agreement, issue, language=language),
    }


def record_of(event: Event, agreement: Agreement, issue: Issue, *, language: str) -> dict[str, Any]:
    """Return the record. It stands within a document that has the context."""
    controller = issue.controller
    return {
        "@id": uuid_urn(event.id.hex()),
        "@type": "dpv:ConsentRecord",
        "dct:identifier": event.id.hex(),
        "dct:conformsTo": {"@id": RECORD_PROFILE},
        "dct:created": instant(event.at_ms),
        "dct:language": language,
        "dpv:hasDataSubject": {"@id": _subject(event), "@type": "dpv:DataSubject", "dct:identifier": event.subject},
        "dpv:hasDataController": parties(controller, agreement, language),
        "dpv:hasAuthority": authority(controller),
        "dpv:hasJurisdiction": place(controller.jurisdiction),
        "dpv:hasApplicableLaw": {"@id": "legal-eu:law-GDPR"},
        "dpv:hasNotice": _notice(agreement, event.notice, controller, language),
        "dpv:hasProcess": process_of(agreement, controller, issue.catalogue, issue.policy, language),
        "dpv:hasRight": [{"@id": right} for right in RIGHTS[agreement.basis]],
        "dpv:hasConsentControl": _control(agreement, controller),
        "dpv:hasConsentStatus": _status(event, agreement, controller, language),
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
        text = words(agreement.notice, language)
        told |= {"dct:description": text, "passerelle:sha256": hashlib.sha256(text["@value"].encode()).hexdigest()}
    return told


def _control(agreement: Agreement, controller: Controller) -> dict[str, Any]:
    """How to withdraw, or to object (TS 27560: withdrawal method)."""
    control: dict[str, Any] = {
        "@id": f"{agreement_urn(agreement)}#control",
        "dpv:hasContact": controller.department(agreement.recipient).dpo,
    }
    if agreement.basis is not Basis.CONSENT and not agreement.basis.can_be_objected:
        return {**control, "@type": "passerelle:NoControl"}
    kind, action = "passerelle:Object", "object"
    if agreement.basis is Basis.CONSENT:
        kind, action = "dpv:WithdrawConsent", "withdraw"
    where = f"{controller.consent}/v1/subjects/me/agreements/{agreement.id}/{action}"
    return {**control, "@type": kind, "dpv:isExercisedAt": {"@id": where}}


def _status(event: Event, agreement: Agreement, controller: Controller, language: str) -> dict[str, Any]:
    """The event: its state, and of which type of consent, or an objection, it is."""
    urn = uuid_urn(event.id.hex())
    said: dict[str, Any] = {
        "@id": f"{urn}#status",
        "@type": [STATUS[event.state], EXPLICIT if agreement.basis is Basis.CONSENT else OBJECTION],
        "dpv:isIndicatedAtTime": instant(event.at_ms),
        "dpv:isIndicatedBy": _speaker(event),
        "dpv:isExercisedAt": {"@id": department_urn(event.department)},
        "dpv:hasDuration": {"@id": f"{urn}#duration", **_duration(event, language)},
        "passerelle:ledgerEntry": event.id.hex(),
        "passerelle:ledger": {"@id": f"{controller.consent}/v1/subjects/me/proof/{event.id.hex()}"},
    }
    if event.acknowledged_ms is not None:
        said["passerelle:inEffectAt"] = instant(event.acknowledged_ms)
    return said


def _duration(event: Event, language: str) -> dict[str, Any]:
    if event.until_ms is None:
        return {"@type": "dpv:UntilEventDuration", "rdf:value": words(LASTS[event.state], language)}
    return {"@type": "dpv:UntilTimeDuration", "rdf:value": instant(event.until_ms)}


def _speaker(event: Event) -> dict[str, Any]:
    """Who said it. Of an officer the department is named, of a guardian nothing: it is the subject's document."""
    if event.by is Actor.SUBJECT:
        return {"@id": _subject(event)}
    speaker: dict[str, Any] = {"@id": f"{uuid_urn(event.id.hex())}#{event.by}", "@type": SPEAKER[event.by]}
    if event.by is Actor.OFFICER:
        speaker["dpv:isRepresentativeFor"] = {"@id": department_urn(event.department)}
    return speaker


def _subject(event: Event) -> str:
    return f"urn:passerelle:subject:{event.portal}:{event.subject}"
