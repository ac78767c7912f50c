"""What the public register says of agreements and flows, as JSON."""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Self

from pydantic import BaseModel

from passerelle_consent.policy.agreements import Agreement
from passerelle_consent.policy.flows import Flow
from passerelle_schemas.catalogue import Catalogue, Text


class RegisteredOut(BaseModel):
    """One version of an agreement, in brief."""

    agreement: str
    id: str
    version: int
    source: str
    recipient: str
    purpose: Text
    basis: str
    law: str | None
    in_force_from: date
    in_force_until: date | None
    retention: str
    """How long the recipient may keep it, as an ISO 8601 duration."""
    review: date
    described: dict[str, Text]
    """What the source may give, in the contracts' words for people: `<type>#<field>` to the words."""

    @classmethod
    def of(cls, agreement: Agreement, catalogue: Catalogue) -> Self:
        """What a list shows."""
        return cls(
            agreement=agreement.ref,
            id=agreement.id,
            version=agreement.version,
            source=agreement.source,
            recipient=agreement.recipient,
            purpose=Text(fr=agreement.purpose.fr, en=agreement.purpose.en),
            basis=agreement.basis.value,
            law=agreement.law,
            in_force_from=agreement.in_force.from_,
            in_force_until=agreement.in_force.until,
            retention=agreement.retention,
            review=agreement.review,
            described=described(fields_of(agreement), catalogue),
        )


class RegisterOut(BaseModel):
    """A page of the register, by id and version."""

    agreements: list[RegisteredOut]


class AgreementOut(BaseModel):
    """An agreement as it was signed, and the flows that run under it."""

    agreement: str
    digest: str
    """SHA-256 of its RFC 8785 bytes, as the city's lock of published versions has it."""
    signed: dict[str, Any]
    flows: list[str]
    versions: list[int]
    described: dict[str, Text]
    """Its fields in the contracts' words for people: `<type>#<field>` to the words."""


class FlowOut(BaseModel):
    """What reaches whom, and under which agreements."""

    id: str
    event: str
    recipient: str
    purpose: str
    agreements: list[str]
    required: list[str]
    optional: list[str]
    description: Text
    described: dict[str, Text]
    """What of it the recipient gets, in the contract's words for people: the field to the words."""

    @classmethod
    def of(cls, flow: Flow, catalogue: Catalogue) -> Self:
        """As its file says."""
        words = catalogue.by_type(flow.event).words if flow.event in catalogue else {}
        shown = {name: words[name] for name in (*flow.required, *flow.optional) if name in words}
        return cls.model_validate({**flow.model_dump(mode="json"), "described": shown})


class FlowsOut(BaseModel):
    """A page of flows, by id."""

    flows: list[FlowOut]


class NoticeTextOut(BaseModel):
    """What citizens are told under an agreement, and the SHA-256 of each text's UTF-8 bytes."""

    agreement: str
    version: int
    words: Text
    sha256_fr: str
    sha256_en: str


def fields_of(agreement: Agreement) -> Mapping[str, Iterable[str]]:
    """Event → the fields of it that an agreement covers."""
    return {type_: coverage.fields for type_, coverage in agreement.events.items()}


def described(fields: Mapping[str, Iterable[str]], catalogue: Catalogue) -> dict[str, Text]:
    """Say what some events' fields are: `<type>#<field>` to the contract's words for people, where it has any."""
    return {
        f"{type_}#{name}": words[name]
        for type_, names in fields.items()
        if type_ in catalogue
        for words in (catalogue.by_type(type_).words,)
        for name in names
        if name in words
    }
