"""Flows: one event type delivered to one recipient, under the agreement of every source that contributed."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from passerelle_consent.policy.agreements import Agreement
from passerelle_schemas.catalogue import Catalogue, Contract, Text
from passerelle_schemas.documents import Document, DocumentFault, load_all

FlowId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9.-]*$")]


class Flow(BaseModel):
    """A flow as its department wrote it. Every field of the event is either required or optional."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: FlowId
    event: str
    recipient: str
    purpose: str = Field(pattern=r"^dpv:[A-Za-z]+$")
    agreements: tuple[str, ...] = Field(min_length=1)
    required: tuple[str, ...] = Field(min_length=1)
    optional: tuple[str, ...] = ()
    description: Text


class FlowFault(DocumentFault):
    """A flow that its agreements do not carry (DESIGN §5)."""


def load_flows(folder: Path) -> list[tuple[Document, Flow]]:
    """Read ``<id>.yaml`` files. Raises `DocumentFault` with every problem."""
    read = load_all(folder.glob("*.yaml"), Flow)
    problems = [d.problem(("id",), f"flow {f.id} belongs in {f.id}.yaml") for d, f in read if d.path.stem != f.id]
    if problems:
        raise DocumentFault(problems)
    return read


def problems_of(flow: Flow, agreements: Mapping[str, Agreement], catalogue: Catalogue) -> Iterable[tuple[str, str]]:
    """Yield (field of the flow's document, what is wrong): unknown names first, then what is not covered."""
    if flow.event not in catalogue:
        yield "event", f"no contract {flow.event}"
        return
    for ref in flow.agreements:
        if ref not in agreements:
            yield "agreements", f"no agreement {ref}"
            return
    yield from problems_of_fields(flow, catalogue.by_type(flow.event))
    yield from _agreement_problems(flow, [agreements[r] for r in flow.agreements], catalogue.by_type(flow.event))


def problems_of_fields(flow: Flow, contract: Contract) -> Iterable[tuple[str, str]]:
    """Yield what a flow says of its event's fields that the contract does not bear."""
    listed = [*flow.required, *flow.optional]
    for name in sorted(set(listed) - set(contract.fields)):
        yield ("required" if name in flow.required else "optional"), f"{contract.type} has no field {name}"
    for name in sorted(set(contract.fields) - set(listed)):
        yield "required", f"field {name} of {contract.type} is neither required nor optional"
    for name in sorted(set(flow.required) & set(flow.optional)):
        yield "optional", f"field {name} is required as well"
    for name in sorted(set(flow.optional) & set(contract.fields) - contract.nullable):
        yield "optional", f"field {name} may be withheld, so its type must be a union with null"
    specs = {spec["name"]: spec for spec in contract.schema["fields"]}
    for name in sorted(set(flow.optional) & contract.nullable):
        if specs[name]["type"][0] != "null" or specs[name].get("default", "") is not None:
            yield "optional", f"field {name} may be withheld, so null must be its first type and its default"


def _agreement_problems(flow: Flow, agreements: list[Agreement], contract: Contract) -> Iterable[tuple[str, str]]:
    for agreement in agreements:
        if agreement.recipient != flow.recipient:
            yield "agreements", f"{agreement.ref} is for {agreement.recipient}, not {flow.recipient}"
        if agreement.purpose.code != flow.purpose:
            yield "agreements", f"{agreement.ref} is for {agreement.purpose.code}, not {flow.purpose}"
    for field, sources in contract.sources.items():
        for source in sources:
            covering = [a.ref for a in agreements if a.covers(source)]
            if not covering:
                yield "agreements", f"field {field}: no agreement of this flow covers {source}"
            elif len(covering) > 1:
                yield "agreements", f"field {field}: {source} is covered twice, by {' and '.join(covering)}"
