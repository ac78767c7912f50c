"""A new join: events of several departments, brought together by subject for another, each under its own consent.

With a window, of those that happened within it; without one, of the newest.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from passerelle.city.manifest import Manifest
from passerelle.scaffold.files import template, write
from passerelle.scaffold.rule import checked, coverage, module_of
from passerelle.scaffold.windows import begins, importing, instant, written
from passerelle_schemas.catalogue import Catalogue, Contract
from passerelle_schemas.faults import Fault
from passerelle_schemas.published import LOCK, Entry, Lock
from passerelle_schemas.shape import digest

EVENTS_MAX = 5
"""More departments than that know little of each other's terms: such a join is better written by hand."""


def new_join(
    manifest: Manifest, name: str, *, events: Sequence[str], to: str, window: timedelta | None = None
) -> list[Path]:
    """Add the derived contract, an agreement for each source, flow, join and scenario. Raises `Fault`."""
    catalogue = Catalogue.load(manifest.contracts)
    contracts = [checked(manifest, catalogue, event, to) for event in events]
    if len(set(events)) != len(events) or not 2 <= len(events) <= EVENTS_MAX:  # noqa: PLR2004 - a pair
        raise Fault(f"a join is of 2 to {EVENTS_MAX} different events")
    derived = f"{to}.{name}.v1"
    if derived in catalogue:
        raise Fault(f"{derived} is a contract already", hint="choose another name: --join NAME")
    folder, module = manifest.path.parent, module_of(manifest)
    fields = _fields(contracts)
    contract = _contract(manifest, name, to, contracts, fields)
    lock = Lock.read(manifest.contracts / LOCK)
    entry = Entry(id=lock.ids_with([derived])[derived], sha256=digest(contract))
    by_source: dict[str, list[Contract]] = {}
    for one in contracts:
        by_source.setdefault(one.department, []).append(one)
    agreements = {source: f"{name}-{source}" for source in by_source}
    words = {
        "recipient": to,
        "event": derived,
        "flow": f"{name}.{to}",
        "function": f"{name}_{to}".replace("-", "_"),
        "rule": f"{manifest.agents[0].id}.{name}-{to}",
        **_description(contracts),
    }
    new = {
        manifest.contracts / to / f"{name}.v1.avsc": json.dumps(contract, indent=2, ensure_ascii=False) + "\n",
        manifest.flows / f"{words['flow']}.yaml": template(
            "flow.yaml",
            **words,
            agreements="".join(f"  - {agreement}@1\n" for agreement in agreements.values()),
            required="".join(f"  - {field}\n" for field in fields),
        ),
        folder / "scenarios" / f"{name}-{to}.yaml": _scenario(contracts, agreements, words, window),
    }
    for source, agreement in agreements.items():
        new[manifest.agreements / source / f"{agreement}.v1.yaml"] = template(
            "agreement.yaml", **words, source=source, agreement=agreement, events=coverage(by_source[source])
        )
    code = module.read_text("utf-8").rstrip("\n") + "\n" + _code(contracts, fields, words, window)
    if window is not None:
        code = importing(code)
    return write(new, {lock.path: lock.text_with({derived: entry}), module: code})


def _fields(contracts: Sequence[Contract]) -> Mapping[str, tuple[Contract, str]]:
    """Every field of every event, by a name of its own: with the event's before it where two have the same."""
    names = [field for contract in contracts for field in contract.fields]
    found: dict[str, tuple[Contract, str]] = {}
    for contract in contracts:
        for field in contract.fields:
            name = field if names.count(field) == 1 else f"{identifier(contract.event)}_{field}"
            if name in found or (name != field and name in names):
                name = f"{identifier(contract.department)}_{name}"
            found[name] = (contract, field)
    return found


def _contract(
    manifest: Manifest, name: str, to: str, contracts: Sequence[Contract], fields: Mapping[str, tuple[Contract, str]]
) -> dict[str, Any]:
    made = []
    for field, (contract, source) in fields.items():
        spec = next(f for f in contract.schema["fields"] if f["name"] == source)
        made.append({**spec, "name": field, "passerelle.from": [f"{contract.type}#{source}"]})
    return {
        "type": "record",
        "name": "".join(part.title() for part in name.split("-")),
        "namespace": identifier(f"{manifest.id}.{to}"),
        "passerelle.owner": to,
        "passerelle.description": _description(contracts),
        "passerelle.compatibility": "BACKWARD",
        "passerelle.retention": contracts[0].retention,
        "passerelle.example": {field: contract.example[source] for field, (contract, source) in fields.items()},
        "fields": made,
    }


def _description(contracts: Sequence[Contract]) -> dict[str, str]:
    fr = " ; ".join(contract.description.fr.rstrip(".") for contract in contracts)
    en = "; ".join(contract.description.en.rstrip(".") for contract in contracts)
    return {"fr": f"Ensemble : {fr}", "en": f"Together: {en}"}


def _code(
    contracts: Sequence[Contract],
    fields: Mapping[str, tuple[Contract, str]],
    words: Mapping[str, str],
    window: timedelta | None,
) -> str:
    boxes = {contract.type: identifier(f"{contract.department}-{contract.event}") for contract in contracts}
    return template(
        "join.py.txt",
        **words,
        outboxes="".join(f'{box} = city.outbox("{type_}")\n' for type_, box in boxes.items()),
        inputs="".join(f"    {box},\n" for box in boxes.values()),
        fields="".join(f'        "{n}": {boxes[c.type]}["{source}"],\n' for n, (c, source) in fields.items()),
        window="" if window is None else f"    window={written(window)},\n",
        views=", ".join(f"_{box}: View" for box in boxes.values()),
        when="Whenever one of them changes and all are known."
        if window is None
        else "Each group that happened within the window; a late event is a dead letter (grace=… waits for it).",
    )


def _scenario(
    contracts: Sequence[Contract], agreements: Mapping[str, str], words: Mapping[str, str], window: timedelta | None
) -> str:
    def published(contract: Contract, windows: int = 0) -> str:
        at = "" if window is None else f", at: {instant(begins(window) + windows * window)}"
        return f"  - publish: {{who: anna, event: {contract.type}{at}}}\n"

    first = next(iter(agreements.values()))
    return template(
        "join-scenario.yaml" if window is None else "windowed-join-scenario.yaml",
        **words,
        publish_all="".join(published(contract) for contract in contracts),
        publish_first=published(contracts[0], 1),
        publish_last=published(contracts[-1]),
        publish_last_apart=published(contracts[-1], 3),
        publish_first_late=published(contracts[0]),
        publish_first_near=published(contracts[0], 3),
        give_all="".join(f"  - give: {{who: anna, agreement: {agreement}}}\n" for agreement in agreements.values()),
        agreement=first,
    )


def identifier(text: str) -> str:
    """A name as Python and Avro take it."""
    return re.sub(r"[^A-Za-z0-9_.]", "_", text)
