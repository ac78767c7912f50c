"""What the city adds to the rules of its contracts: who may own one, who uses it, what may be withheld of it."""

from collections.abc import Iterator, Sequence

from passerelle.city import erasure
from passerelle.city.apply import agents_plans
from passerelle.city.lint import unknown_owner
from passerelle.city.manifest import Manifest
from passerelle_consent.policy.flows import Flow, load_flows, problems_of_fields
from passerelle_schemas.catalogue import Catalogue, Contract
from passerelle_schemas.check import Finding, check
from passerelle_schemas.contract_files import ContractFiles
from passerelle_schemas.documents import Document, DocumentFault
from passerelle_schemas.faults import Fault
from passerelle_schemas.topics import outbox


def findings(manifest: Manifest, files: ContractFiles) -> list[Finding]:
    """Return all that is wrong with the city's contracts; orphans are warnings. Raises `DocumentFault` for no flows."""
    flows = load_flows(manifest.flows)
    found = check(files)
    catalogue = Catalogue(contract for _, contract in files.contracts)
    found += _owned_and_kept(manifest, files.contracts)
    found += _withheld(flows, catalogue)
    if not found:  # an app of agents reads the catalogue when it is imported
        found += _orphans(manifest, [flow for _, flow in flows], files.contracts)
    return found


def warnings(manifest: Manifest) -> list[str]:
    """Return what somebody should look at. Raises `DocumentFault` with what is wrong."""
    found = findings(manifest, ContractFiles.read(manifest.contracts))
    wrong = [finding.text for finding in found if not finding.warning]
    if wrong:
        raise DocumentFault(wrong)
    return [finding.text for finding in found]


def _owned_and_kept(manifest: Manifest, contracts: Sequence[tuple[Document, Contract]]) -> Iterator[Finding]:
    for document, contract in contracts:
        if contract.owner not in manifest.department_ids:
            yield Finding(rule="owner", text=unknown_owner(manifest, document, contract))
        for text in erasure.problems_of_contract(document, contract):
            yield Finding(rule="retention", text=text)


def _withheld(flows: Sequence[tuple[Document, Flow]], catalogue: Catalogue) -> Iterator[Finding]:
    for document, flow in flows:
        if flow.event in catalogue:
            for at, what in problems_of_fields(flow, catalogue.by_type(flow.event)):
                yield Finding(rule="withheld", text=document.problem((at,), what))


def _orphans(
    manifest: Manifest, flows: Sequence[Flow], contracts: Sequence[tuple[Document, Contract]]
) -> Iterator[Finding]:
    delivered = {flow.event for flow in flows}
    used = {s.partition("#")[0] for _, c in contracts if c.type in delivered for ss in c.sources.values() for s in ss}
    read: set[str] = set()
    try:
        read = {topic for plan in agents_plans(manifest).values() for topic in plan.outboxes}
    except (Fault, DocumentFault) as fault:
        yield Finding(rule="orphan", text=f"{fault}: nobody can say what its agents read", warning=True)
    for document, contract in contracts:
        its_outbox = outbox(contract.department, contract.event)
        if contract.type not in delivered | used and (contract.derived or its_outbox not in read):
            what = f"{contract.type} is an orphan: no flow delivers it and no agent reads it"
            yield Finding(rule="orphan", text=document.problem((), what), warning=True)
