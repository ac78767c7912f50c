"""Every problem of a city's files at once: manifest, contracts, flows, agreements, and names across them."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from passerelle.city.manifest import Manifest
from passerelle_consent.policy.agreements import Agreement, load_agreements
from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_consent.policy.flows import load_flows
from passerelle_schemas.catalogue import Catalogue
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
    agreements = attempt(lambda: load_agreements(manifest.agreements)) or []
    problems += _unknown_owners(manifest, catalogue or ())
    problems += _unknown_recipients(manifest, [document for document, _ in flows])
    problems += _unknown_parties(manifest, agreements)
    if not problems:
        # What needs all three together: whether each flow is carried by its agreements.
        bundle = attempt(lambda: PolicyBundle.load(manifest.contracts, manifest.flows, manifest.agreements))
        if bundle is not None:
            bundle.table()
            return bundle
    raise DocumentFault(problems)


def _unknown_owners(manifest: Manifest, catalogue: "Catalogue | tuple[()]") -> Iterator[str]:
    for contract in catalogue:
        if contract.owner not in manifest.department_ids:
            path = manifest.contracts / contract.department / f"{contract.event}.v{contract.version}.avsc"
            yield _unknown(manifest, Document(path), "passerelle.owner", contract.owner)


def _unknown_recipients(manifest: Manifest, flows: list[Document]) -> Iterator[str]:
    for document in flows:
        if document.value["recipient"] not in manifest.department_ids:
            yield _unknown(manifest, document, "recipient", document.value["recipient"])


def _unknown_parties(manifest: Manifest, agreements: list[Agreement]) -> Iterator[str]:
    for agreement in agreements:
        for role in ("source", "recipient"):
            name = getattr(agreement, role)
            if name not in manifest.department_ids:
                path = manifest.agreements / agreement.source / f"{agreement.id}.v{agreement.version}.yaml"
                yield _unknown(manifest, Document(path), role, name)


def _unknown(manifest: Manifest, document: Document, field: str, name: str) -> str:
    return document.problem((field,), f"{name} is not a department of {manifest.path.name}")
