"""Every problem of a city's files at once: manifest, contracts, flows, agreements, and names across them."""

from collections.abc import Callable, Iterator
from datetime import date
from typing import TypeVar

from passerelle.city import erasure
from passerelle.city.manifest import Manifest
from passerelle_consent.policy.agreements import Agreement, read_agreements
from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_consent.policy.flows import Flow, load_flows
from passerelle_consent.policy.lock import add_missing, problems_of_lock
from passerelle_consent.policy.rules import problems_of_agreement, problems_of_special_flow, review_warning
from passerelle_schemas.catalogue import Catalogue, Contract
from passerelle_schemas.documents import Document, DocumentFault

Read = TypeVar("Read")


def checked(manifest: Manifest) -> PolicyBundle:
    """Return the policy that the city's files make, compiled as a proof. Raises `DocumentFault` with all problems."""
    problems: list[str] = []

    def attempt(read: Callable[[], Read]) -> Read | None:
        try:
            return read()
        except DocumentFault as fault:
            problems.extend(fault.problems)
            return None

    catalogue = attempt(lambda: Catalogue.load(manifest.contracts))
    flows = attempt(lambda: load_flows(manifest.flows)) or []
    agreements = attempt(lambda: read_agreements(manifest.agreements)) or []
    problems += _unknown_owners(manifest, catalogue or ())
    problems += _unknown_recipients(manifest, [document for document, _ in flows])
    problems += _unknown_parties(manifest, agreements)
    problems += _other_parties(agreements)
    problems += attempt(lambda: list(problems_of_lock(manifest.agreements, agreements))) or []
    if catalogue is not None:
        problems += erasure.problems(manifest, catalogue)
        problems += _broken_rules(manifest, catalogue, agreements, flows)
    if not problems:
        # What needs all three together: whether each flow is carried by its agreements.
        bundle = attempt(lambda: PolicyBundle.load(manifest.contracts, manifest.flows, manifest.agreements))
        if bundle is not None:
            bundle.table()
            return bundle
    raise DocumentFault(problems)


def reviews(manifest: Manifest, today: date) -> list[str]:
    """Warnings, by file and line, of reviews that are near or past. Raises `DocumentFault`."""
    found = ((d, review_warning(a, today)) for d, a in read_agreements(manifest.agreements))
    return [document.problem(*warning) for document, warning in found if warning is not None]


def lock(manifest: Manifest) -> list[str]:
    """Put new versions of agreements under the digest lock; returns them. Raises `DocumentFault`."""
    return add_missing(manifest.agreements, [a for _, a in read_agreements(manifest.agreements)])


def _broken_rules(
    manifest: Manifest,
    catalogue: Catalogue,
    agreements: list[tuple[Document, Agreement]],
    flows: list[tuple[Document, Flow]],
) -> Iterator[str]:
    for document, agreement in agreements:
        # A city's departments are public authorities, all of them.
        for at, what in problems_of_agreement(agreement, catalogue, manifest.department_ids):
            yield document.problem(at, what)
    by_ref = {a.ref: a for _, a in agreements}
    for document, flow in flows:
        if flow.event in catalogue and by_ref.keys() >= set(flow.agreements):
            for at, what in problems_of_special_flow(flow, by_ref, catalogue):
                yield document.problem(at, what)


def _unknown_owners(manifest: Manifest, catalogue: "Catalogue | tuple[()]") -> Iterator[str]:
    for contract in catalogue:
        if contract.owner not in manifest.department_ids:
            path = manifest.contracts / contract.department / f"{contract.event}.v{contract.version}.avsc"
            yield unknown_owner(manifest, Document(path), contract)


def unknown_owner(manifest: Manifest, document: Document, contract: Contract) -> str:
    """Say that a contract's owner is no department."""
    return _unknown(manifest, document, "passerelle.owner", contract.owner)


def _unknown_recipients(manifest: Manifest, flows: list[Document]) -> Iterator[str]:
    for document in flows:
        if document.value["recipient"] not in manifest.department_ids:
            yield _unknown(manifest, document, "recipient", document.value["recipient"])


def _unknown_parties(manifest: Manifest, agreements: list[tuple[Document, Agreement]]) -> Iterator[str]:
    for document, agreement in agreements:
        for role in ("source", "recipient"):
            name = getattr(agreement, role)
            if name not in manifest.department_ids:
                yield _unknown(manifest, document, role, name)


def _other_parties(agreements: list[tuple[Document, Agreement]]) -> Iterator[str]:
    """What was said about an agreement, or opened under it, outlives its versions: so they have the same parties."""
    first: dict[str, Agreement] = {}
    for document, agreement in sorted(agreements, key=lambda read: read[1].version):
        known = first.setdefault(agreement.id, agreement)
        for role in ("source", "recipient"):
            if getattr(agreement, role) != getattr(known, role):
                what = f"{known.ref} has {getattr(known, role)}: another {role} is another agreement"
                yield document.problem((role,), what)


def _unknown(manifest: Manifest, document: Document, field: str, name: str) -> str:
    return document.problem((field,), f"{name} is not a department of {manifest.path.name}")
