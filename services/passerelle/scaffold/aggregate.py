"""A new aggregate: how many events of one kind about a citizen happened in each window, and the last of them."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from passerelle.city.manifest import Manifest
from passerelle.scaffold.files import template, write
from passerelle.scaffold.join import identifier
from passerelle.scaffold.rule import checked, coverage, module_of
from passerelle.scaffold.windows import begins, importing, instant, written
from passerelle_schemas.catalogue import Catalogue, Contract
from passerelle_schemas.faults import Fault
from passerelle_schemas.published import LOCK, Entry, Lock
from passerelle_schemas.shape import digest


def new_aggregate(manifest: Manifest, name: str, *, event: str, to: str, window: timedelta) -> list[Path]:
    """Add the derived contract, agreement, flow, aggregate and scenario. Raises `Fault`."""
    catalogue = Catalogue.load(manifest.contracts)
    source = checked(manifest, catalogue, event, to)
    derived = f"{to}.{name}.v1"
    if derived in catalogue:
        raise Fault(f"{derived} is a contract already", hint="choose another name: --aggregate NAME")
    folder, module, count = manifest.path.parent, module_of(manifest), _count(source)
    contract = _contract(manifest, name, to, source, count)
    lock = Lock.read(manifest.contracts / LOCK)
    entry = Entry(id=lock.ids_with([derived])[derived], sha256=digest(contract))
    words = {
        "recipient": to,
        "event": derived,
        "source_event": source.type,
        "flow": f"{name}.{to}",
        "function": f"{name}_{to}".replace("-", "_"),
        "rule": f"{manifest.agents[0].id}.{name}-{to}",
        "agreement": f"{name}-{source.department}",
        **_description(source),
    }
    new = {
        manifest.contracts / to / f"{name}.v1.avsc": json.dumps(contract, indent=2, ensure_ascii=False) + "\n",
        manifest.flows / f"{words['flow']}.yaml": template(
            "flow.yaml",
            **words,
            agreements=f"  - {words['agreement']}@1\n",
            required="".join(f"  - {field['name']}\n" for field in contract["fields"]),
        ),
        manifest.agreements / source.department / f"{words['agreement']}.v1.yaml": template(
            "agreement.yaml", **words, source=source.department, events=coverage([source])
        ),
        folder / "scenarios" / f"{name}-{to}.yaml": _scenario(words, count, window),
    }
    code = module.read_text("utf-8").rstrip("\n") + "\n" + _code(source, words, count, window)
    return write(new, {lock.path: lock.text_with({derived: entry}), module: importing(code, folds=True)})


def _count(source: Contract) -> str:
    """A name that no field of the event has."""
    return next(name for name in ("count", f"{identifier(source.event)}_count") if name not in source.fields)


def _contract(manifest: Manifest, name: str, to: str, source: Contract, count: str) -> dict[str, Any]:
    first = next(iter(source.fields))
    counted = {
        "name": count,
        "type": "int",
        "passerelle.class": "personal",
        "passerelle.description": {"fr": "Combien dans la fenêtre.", "en": "How many in the window."},
        "passerelle.from": [f"{source.type}#{first}"],
    }
    newest = [{**spec, "passerelle.from": [f"{source.type}#{spec['name']}"]} for spec in source.schema["fields"]]
    return {
        "type": "record",
        "name": "".join(part.title() for part in name.split("-")),
        "namespace": identifier(f"{manifest.id}.{to}"),
        "passerelle.owner": to,
        "passerelle.description": _description(source),
        "passerelle.compatibility": "BACKWARD",
        "passerelle.retention": source.retention,
        "passerelle.example": {count: 1, **source.example},
        "fields": [counted, *newest],
    }


def _description(source: Contract) -> dict[str, str]:
    said = source.description
    return {"fr": f"Combien de fois, et le dernier : {said.fr.rstrip('.')}", "en": f"How many, and the last: {said.en}"}


def _code(source: Contract, words: dict[str, str], count: str, window: timedelta) -> str:
    box = identifier(f"{source.department}-{source.event}")
    first = next(iter(source.fields))
    fields = [f'        "{count}": folded(lambda n, _: n + 1, {box}["{first}"], start=0),\n']
    fields += [f'        "{f}": folded(lambda _, newest: newest, {box}["{f}"], start=None),\n' for f in source.fields]
    return template("aggregate.py.txt", **words, box=box, fields="".join(fields), window=written(window))


def _scenario(words: dict[str, str], count: str, window: timedelta) -> str:
    begin = begins(window)
    times = {"first": begin, "late": begin + window / 4, "within": begin + window / 2, "later": begin + 2 * window}
    return template("aggregate-scenario.yaml", **words, count=count, **{n: instant(at) for n, at in times.items()})
