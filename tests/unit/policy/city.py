"""A small city for policy tests: two sources, one recipient, every basis."""

from datetime import UTC, datetime

from passerelle_consent.policy.agreements import Agreement
from passerelle_consent.policy.flows import Flow
from passerelle_consent.policy.standing import Stance, Standing, State
from passerelle_schemas.catalogue import Catalogue

NOW_MS = int(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()) * 1000
WORDS = {"fr": "Parce que", "en": "Because"}


def field(name, type_="string", sources=None):
    made = {"name": name, "type": type_, "passerelle.class": "location"}
    if isinstance(type_, list):
        made["default"] = None
    return made | ({"passerelle.from": sources} if sources else {})


def schema(owner, *fields):
    return {
        "type": "record",
        "name": "Event",
        "passerelle.owner": owner,
        "passerelle.description": WORDS,
        "passerelle.compatibility": "FULL",
        "passerelle.retention": "P1D",
        "passerelle.example": {},
        "fields": list(fields),
    }


CATALOGUE = Catalogue.from_schemas(
    {
        "registry.moved.v1": (1, schema("registry", field("street"), field("phone", ["null", "string"]))),
        "tax.assessed.v1": (2, schema("tax", field("income", "long"))),
        "schools.tariff.v1": (
            3,
            schema(
                "schools",
                field("band", "int", ["registry.moved.v1#street", "tax.assessed.v1#income"]),
                field("hint", ["null", "string"], ["registry.moved.v1#phone"]),
            ),
        ),
    }
)


def agreement(id_, basis, covers, **changes):
    document = {
        "id": id_,
        "version": 1,
        "source": "registry",
        "recipient": "schools",
        "purpose": {"code": "dpv:ServiceProvision", **WORDS},
        "basis": basis,
        "law": "Code, art. 1" if basis in ("6-1-c", "6-1-e") else None,
        "events": {t: {"fields": dict.fromkeys(fields, WORDS)} for t, fields in covers.items()},
        "subjects": ["adult"],
        "in_force": {"from": "2026-01-01"},
        "retention": "P1Y",
        "notice": {"version": 2, "compatible_with": [1], **WORDS},
        "review": "2027-01-01",
        "signed": [{"by": "DPO", "on": "2025-12-01"}],
    }
    return Agreement.model_validate(document | changes)


def flow(id_, event, agreements, required, optional=(), **changes):
    document = {
        "id": id_,
        "event": event,
        "recipient": "schools",
        "purpose": "dpv:ServiceProvision",
        "agreements": agreements,
        "required": required,
        "optional": optional,
        "description": WORDS,
    }
    return Flow.model_validate(document | changes)


def stance(agreement_id, state, **changes):
    fields = {"agreement": agreement_id, "state": State(state), "notice": 2, "at_ms": NOW_MS - 1000}
    return Stance(**{**fields, **changes})


def standing(*stances, **changes):
    return Standing(**{"linked": True, "stances": {s.agreement: s for s in stances}, **changes})
