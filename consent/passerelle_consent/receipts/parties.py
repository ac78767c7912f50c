"""Who stands in a receipt: the city, its departments, the authority (TS 27560, clause 6.3.6: party)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from passerelle_consent.policy.agreements import Agreement
from passerelle_consent.receipts.terms import words
from passerelle_schemas.catalogue import Text


@dataclass(frozen=True, kw_only=True, slots=True)
class Party:
    """A department, which answers for what it does with data (GDPR Art. 4(7))."""

    name: Text
    address: str
    contact: str
    """The mail address of whoever answers there."""
    dpo: str
    """Its data protection officer's mail address."""
    locations: tuple[str, ...]
    """The countries where it keeps and processes data: ISO 3166-1 codes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Authority:
    """Where a citizen may complain (GDPR Art. 77)."""

    name: str
    url: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Controller:
    """The city, which publishes the receipts, and its departments."""

    name: Text
    address: str
    dpo: str
    """The data protection officer's mail address."""
    privacy: str
    """Where the city tells what it does with data."""
    consent: str
    """The public address of the consent service."""
    authority: Authority
    departments: Mapping[str, Party]
    jurisdiction: str
    """An ISO 3166-1 code."""

    def department(self, department: str) -> Party:
        """Return a department; the city answers in the place of one that is there no more."""
        unnamed = Party(
            name=Text(fr=department, en=department),
            address=self.address,
            contact=self.dpo,
            dpo=self.dpo,
            locations=(self.jurisdiction,),
        )
        return self.departments.get(department, unnamed)


def city(controller: Controller, language: str) -> dict[str, Any]:
    """Return the publisher of receipts."""
    return {
        "@id": "urn:passerelle:city",
        "@type": "dpv:DataController",
        "dpv:hasName": words(controller.name, language),
        "dpv:hasAddress": controller.address,
        "dpv:hasContact": controller.dpo,
        "schema:url": {"@id": controller.privacy},
    }


def parties(controller: Controller, agreement: Agreement, language: str) -> list[dict[str, Any]]:
    """Return the two controllers of a sharing: the one whose data it is, and the one who receives it."""
    source = _party(controller, agreement.source, "dpv:DataControllerDataSource", language)
    return [source, _party(controller, agreement.recipient, "dpv:Recipient", language)]


def authority(controller: Controller) -> dict[str, Any]:
    """Return the supervisory authority."""
    return {
        "@id": "urn:passerelle:authority",
        "@type": "dpv:DataProtectionAuthority",
        "dpv:hasName": controller.authority.name,
        "schema:url": {"@id": controller.authority.url},
    }


def department_urn(department: str) -> str:
    """Return a department's name in a receipt."""
    return f"urn:passerelle:department:{department}"


def _party(controller: Controller, department: str, type_: str, language: str) -> dict[str, Any]:
    party = controller.department(department)
    return {
        "@id": department_urn(department),
        "@type": ["dpv:DataController", type_],
        "dpv:hasIdentifier": department,
        "dpv:hasName": words(party.name, language),
        "dpv:hasAddress": party.address,
        "dpv:hasContact": party.contact,
        "dpv:hasDataProtectionOfficer": {
            "@id": f"mailto:{party.dpo}",
            "@type": "dpv:DataProtectionOfficer",
            "dpv:hasContact": party.dpo,
        },
    }
