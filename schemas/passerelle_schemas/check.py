"""Contracts treated as code: everything that is wrong with a folder of them, as values."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from passerelle_schemas.compatibility import NotAvro, breaks_of, parsed
from passerelle_schemas.contract import Contract
from passerelle_schemas.contract_files import ContractFiles
from passerelle_schemas.documents import Document
from passerelle_schemas.rules import RULES

Read = tuple[Document, Contract]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that is wrong, or that somebody should look at."""

    rule: str
    text: str
    """``file:line: field: what``."""
    warning: bool = False


def check(files: ContractFiles) -> list[Finding]:
    """Return what is wrong with each contract, with its lineage, and with what it makes of the version before."""
    found = [Finding(rule="contract", text=text) for text in files.problems]
    found += [Finding(rule="published", text=text) for text in files.unpublished]
    for document, contract in files.contracts:
        found += _alone(document, contract)
    found += _versions(files.contracts)
    found += _full_names(files.contracts)
    if not files.problems:  # a contract that cannot be read would be missed as a source as well
        found += _sources(files.contracts)
    return found


def _alone(document: Document, contract: Contract) -> Iterator[Finding]:
    try:
        parsed(contract.schema)
    except NotAvro as fault:
        # fastavro lets much pass that is no schema: the rules look at what both take.
        yield Finding(rule="avro", text=document.problem((), fault.what))
        return
    for name, rule in RULES.items():
        for at, what in rule(contract):
            yield Finding(rule=name, text=document.problem(at, what))


def _versions(contracts: Sequence[Read]) -> Iterator[Finding]:
    """What each version breaks of the promise of the one before."""

    def event(read: Read) -> tuple[str, str]:
        return read[1].department, read[1].event

    for _, versions in groupby(sorted(contracts, key=lambda read: (*event(read), read[1].version)), key=event):
        for (_, older), (document, newer) in pairwise(versions):
            try:
                for at, what in breaks_of(older, newer):
                    yield Finding(rule="compatibility", text=document.problem(at, what))
            except NotAvro:
                continue  # told of the contract itself


def _full_names(contracts: Sequence[Read]) -> Iterator[Finding]:
    """Two events of one Avro name would be one class in every language."""
    seen: dict[str, Contract] = {}
    for document, contract in contracts:
        first = seen.setdefault(contract.name, contract)
        if (first.department, first.event) != (contract.department, contract.event):
            yield Finding(rule="names", text=document.problem(("name",), f"{contract.name} is {first.type} already"))


def _sources(contracts: Sequence[Read]) -> Iterator[Finding]:
    """A derived event says of every field where it comes from, and it comes from there."""
    known = {f"{contract.type}#{field}" for _, contract in contracts for field in contract.fields}
    for document, contract in contracts:
        for i, (field, sources) in enumerate(contract.sources.items() if contract.derived else ()):
            at = ("fields", i, "passerelle.from")
            if sources == (f"{contract.type}#{field}",):
                yield Finding(rule="sources", text=document.problem(at, f"{field} does not say where it comes from"))
            for source in sources:
                if source not in known:
                    yield Finding(rule="sources", text=document.problem(at, f"there is no {source}"))
