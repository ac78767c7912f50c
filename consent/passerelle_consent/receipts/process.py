"""What is done with the data under an agreement (TS 27560, clauses 6.3.4 and 6.3.5: processing, personal data)."""

from collections.abc import Iterator
from typing import Any

from passerelle_consent.policy.agreements import Agreement
from passerelle_consent.policy.rules import SPECIAL_CLASSES
from passerelle_consent.receipts.parties import Controller, department_urn
from passerelle_consent.receipts.terms import place, words
from passerelle_schemas.catalogue import Catalogue


def process_of(
    agreement: Agreement, controller: Controller, catalogue: Catalogue, policy: bytes, language: str
) -> dict[str, Any]:
    """Return the process. ``policy`` is the digest of the policy in force."""
    urn = agreement_urn(agreement)
    return {
        "@id": urn,
        "@type": "dpv:Process",
        "dct:identifier": agreement.ref,
        "dpv:hasPurpose": {
            "@id": f"{urn}#purpose",
            "@type": "dpv:Purpose",
            "skos:broader": {"@id": agreement.purpose.code},
            "dct:description": words(agreement.purpose, language),
        },
        "dpv:hasLegalBasis": list(_bases(agreement)),
        "dpv:hasProcessing": {"@id": "dpv:Share"},
        "dpv:hasPersonalData": list(_data(agreement, catalogue, language)),
        "dpv:hasDataSource": {"@id": department_urn(agreement.source)},
        "dpv:hasRecipient": {"@id": department_urn(agreement.recipient)},
        **_conditions(agreement, controller),
        "passerelle:policy": policy.hex(),
    }


def agreement_urn(agreement: Agreement) -> str:
    """Return an agreement's name in a receipt."""
    return f"urn:passerelle:agreement:{agreement.ref}"


def _bases(agreement: Agreement) -> Iterator[dict[str, Any]]:
    """The basis of GDPR Art. 6, with its law, and where a special category is shared that of Art. 9."""
    articles = [agreement.basis.value, *([agreement.special_category] if agreement.special_category else [])]
    for article in articles:
        basis: dict[str, Any] = {
            "@id": f"{agreement_urn(agreement)}#A{article}",
            "@type": "dpv:LegalBasis",
            "skos:broader": {"@id": f"eu-gdpr:A{article}"},
        }
        if agreement.law is not None:
            basis["dct:references"] = agreement.law
        yield basis


def _conditions(agreement: Agreement, controller: Controller) -> dict[str, Any]:
    """Where and for how long the recipient keeps the data, and where it works on it."""
    places = [place(country) for country in controller.department(agreement.recipient).locations]
    retention = {"@type": "xsd:duration", "@value": agreement.retention}
    return {
        "dpv:hasStorageCondition": [
            {"@type": "dpv:StorageDuration", "dpv:hasDuration": retention},
            {"@type": "dpv:StorageLocation", "dpv:hasLocation": places},
        ],
        "dpv:hasProcessingCondition": {"@type": "dpv:ProcessingLocation", "dpv:hasLocation": places},
    }


def _data(agreement: Agreement, catalogue: Catalogue, language: str) -> Iterator[dict[str, Any]]:
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
                "dpv:hasJustification": words(need, language),
            }
