"""What an agreement must say besides being well formed: rules of the GDPR that need the contracts or the day. Pure."""

from collections.abc import Collection, Iterator
from datetime import date, timedelta

from passerelle_consent.policy.agreements import Agreement, Basis, SubjectClass
from passerelle_consent.policy.flows import Flow
from passerelle_schemas.catalogue import Catalogue
from passerelle_schemas.classes import SPECIAL
from passerelle_schemas.documents import Location

SPECIAL_CLASSES = frozenset(SPECIAL)
REVIEW_NEAR_DAYS = 30
"""A review takes a data protection officer some weeks."""

NO_PUBLIC_TASK = (
    "6-1-f is not for the tasks of a public authority, which {} is: 6-1-e with its law, or outside_public_tasks says "
    "why this is none (GDPR Art. 6(1), second subparagraph)"
)

Problem = tuple[Location, str]
"""Where in the document, and what is wrong."""


def problems_of_agreement(agreement: Agreement, catalogue: Catalogue, public: Collection[str]) -> Iterator[Problem]:
    """Yield what is wrong; ``public`` are the departments that are public authorities."""
    if agreement.basis is Basis.LEGITIMATE_INTERESTS and agreement.outside_public_tasks is None:
        parties = [d for d in (agreement.source, agreement.recipient) if d in public]
        if parties:
            yield ("basis",), NO_PUBLIC_TASK.format(parties[0])
    yield from _problems_of_consent(agreement)
    for type_, coverage in agreement.events.items():
        if type_ not in catalogue:
            yield ("events", type_), f"no contract {type_}"
            continue
        contract = catalogue.by_type(type_)
        if contract.owner != agreement.source:
            yield ("events", type_), f"is an event of {contract.owner}, not of {agreement.source}"
        for field in coverage.fields:
            at = ("events", type_, "fields", field)
            if field not in contract.fields:
                yield at, f"{type_} has no such field"
            elif contract.classes[field] in SPECIAL_CLASSES and agreement.special_category is None:
                yield at, f"is {contract.classes[field]} data: special_category must name its basis (GDPR Art. 9(2))"


def _problems_of_consent(agreement: Agreement) -> Iterator[Problem]:
    """Who may say yes is nothing to be guessed at: an agreement that needs a minor's consent says it."""
    terms, minors = agreement.consent, SubjectClass.MINOR in agreement.subjects
    if agreement.basis is not Basis.CONSENT:
        if terms is not None:
            yield ("consent",), f"is for agreements that rest on consent (6-1-a), not for {agreement.basis}"
    elif minors and (terms is None or "guardians" not in terms.model_fields_set):
        at = ("subjects",) if terms is None else ("consent",)
        yield at, "for minors, consent.guardians must say whether one guardian gives it or both (GDPR Art. 8)"
    elif not minors and terms is not None:
        for name in sorted({"guardians", "own_voice"} & terms.model_fields_set):
            yield ("consent", name), "is about minors, whom this agreement does not cover"


def problems_of_special_flow(flow: Flow, agreements: dict[str, Agreement], catalogue: Catalogue) -> Iterator[Problem]:
    """Yield the derived fields that are special, under an agreement that has no basis for that."""
    contract = catalogue.by_type(flow.event)
    for field, sources in contract.sources.items():
        if contract.classes[field] not in SPECIAL_CLASSES:
            continue
        for i, ref in enumerate(flow.agreements):
            agreement = agreements[ref]
            if agreement.special_category is None and any(map(agreement.covers, sources)):
                yield (
                    ("agreements", i),
                    f"field {field} is {contract.classes[field]} data, and {ref} has no Art. 9(2) basis",
                )


def review_warning(agreement: Agreement, today: date) -> Problem | None:
    """Return a warning when the review is near or past. One whose last day is over needs none."""
    if agreement.in_force.until is not None and agreement.in_force.until < today:
        return None
    if agreement.review < today:
        return ("review",), f"{agreement.ref} was to be reviewed on {agreement.review}"
    if agreement.review <= today + timedelta(days=REVIEW_NEAR_DAYS):
        return ("review",), f"{agreement.ref} is to be reviewed on {agreement.review}"
    return None
