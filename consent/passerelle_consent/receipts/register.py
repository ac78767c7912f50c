"""An agreement as the public register shows it to machines: JSON-LD with the terms of the Data Privacy Vocabulary.

It says of an agreement what a receipt says of the process (TS 27560), and what a receipt need not: whom it covers, from
when until when, which flows run under it, and the digest under which it was published.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from passerelle_consent.policy.agreements import Agreement, SubjectClass
from passerelle_consent.policy.lock import digest_of
from passerelle_consent.receipts.document import Issue
from passerelle_consent.receipts.parties import city, parties
from passerelle_consent.receipts.process import process_of
from passerelle_consent.receipts.terms import CONTEXT, RIGHTS, words

SUBJECTS: Mapping[SubjectClass, str] = {
    SubjectClass.ADULT: "dpv:Adult",
    SubjectClass.MINOR: "dpv:Child",
    SubjectClass.PROTECTED_ADULT: "dpv:VulnerableDataSubject",
}
"""DPV has no adult under assistance or representation: the broader term stands for one."""


def registered(agreement: Agreement, issue: Issue, flows: Sequence[str], *, language: str) -> dict[str, Any]:
    """Return one version with its context. ``language``: `fr` or `en`; ``flows``: the ids of those under it."""
    return {"@context": CONTEXT, **_version(agreement, issue, flows, language)}


def register(shown: Sequence[tuple[Agreement, Sequence[str]]], issue: Issue, *, language: str) -> dict[str, Any]:
    """Return a page of versions, each with its flows, as one graph."""
    return {"@context": CONTEXT, "@graph": [_version(a, issue, flows, language) for a, flows in shown]}


def _version(agreement: Agreement, issue: Issue, flows: Sequence[str], language: str) -> dict[str, Any]:
    controller = issue.controller
    register_url = f"{controller.consent}/v1/agreements/{agreement.id}"
    said = {
        "@id": f"{register_url}/versions/{agreement.version}",
        "@type": "dpv:DataProcessingAgreement",
        "dct:identifier": agreement.ref,
        "dct:isVersionOf": {"@id": register_url},
        "schema:version": str(agreement.version),
        "dct:publisher": city(controller, language),
        "dct:description": words(agreement.purpose, language),
        "schema:validFrom": _day(agreement.in_force.from_),
        "dpv:hasDataController": parties(controller, agreement, language),
        "dpv:hasDataSubject": [{"@type": SUBJECTS[kind]} for kind in sorted(agreement.subjects)],
        "dpv:hasProcess": process_of(agreement, controller, issue.catalogue, issue.policy, language),
        "dpv:hasNotice": {
            "@id": f"{controller.consent}/v1/notices/{agreement.id}/{agreement.notice.version}",
            "@type": "dpv:PrivacyNotice",
            "dct:description": words(agreement.notice, language),
        },
        "dpv:hasRight": [{"@id": right} for right in RIGHTS[agreement.basis]],
        "passerelle:reviewBy": _day(agreement.review),
        "passerelle:sha256": digest_of(agreement),
        "passerelle:flow": list(flows),
    }
    if agreement.in_force.until is not None:
        said["schema:validThrough"] = _day(agreement.in_force.until)
    if agreement.consultation is not None:
        at = f"{controller.consent}/v1/consultations/{agreement.consultation.id}/result"
        said["passerelle:consultation"] = {"@id": at, "passerelle:sha256": agreement.consultation.result}
    return said


def _day(day: date) -> dict[str, str]:
    return {"@type": "xsd:date", "@value": day.isoformat()}
