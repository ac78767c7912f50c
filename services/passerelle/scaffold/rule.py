"""A new rule: one department's event to another, under an agreement that rests on consent, with a scenario."""

import importlib.util
from pathlib import Path

from passerelle.city.manifest import Manifest
from passerelle.scaffold.files import template, write
from passerelle_schemas.catalogue import Catalogue, Contract
from passerelle_schemas.faults import Fault


def new_rule(manifest: Manifest, *, event: str, to: str) -> list[Path]:
    """Add agreement, flow, route and scenario. Raises `Fault`."""
    contract = Catalogue.load(manifest.contracts).by_type(event)
    if to not in manifest.department_ids:
        raise Fault(f"no department {to}", where=str(manifest.path), hint=f"passerelle department new {to}")
    if contract.derived:
        raise Fault(f"{event} is made by agents: a rule begins with what a department publishes")
    if to == contract.department:
        raise Fault(f"{to} publishes {event}: it has no need to receive it")
    module = _module(manifest)
    code = module.read_text("utf-8")
    words = _words(contract, to)
    folder = manifest.path.parent
    return write(
        {
            manifest.agreements / contract.department / f"{words['agreement']}.v1.yaml": template(
                "agreement.yaml", **words, fields=_fields(contract)
            ),
            manifest.flows / f"{words['flow']}.yaml": template("flow.yaml", **words, required=_required(contract)),
            folder / "scenarios" / f"{words['agreement']}.yaml": template("scenario.yaml", **words),
        },
        {module: code.rstrip("\n") + "\n" + template("route.py.txt", **words)},
    )


def _words(contract: Contract, to: str) -> dict[str, str]:
    return {
        "source": contract.department,
        "recipient": to,
        "event": contract.type,
        "agreement": f"{contract.event}-{to}",
        "flow": f"{contract.event}.{to}",
        "function": f"{contract.event}_{to}".replace("-", "_"),
        "fr": contract.description.fr.rstrip("."),
        "en": contract.description.en.rstrip("."),
    }


def _fields(contract: Contract) -> str:
    """Each field with its need: the words are the department's to find."""
    return "".join(
        f'      {name}:\n        fr: "À préciser : pourquoi ce champ est nécessaire."\n'
        f'        en: "To be stated: why this field is needed."\n'
        for name in contract.fields
    )


def _required(contract: Contract) -> str:
    return "".join(f"  - {name}\n" for name in contract.fields)


def _module(manifest: Manifest) -> Path:
    """The file of the city's only app of agents, beside its manifest or wherever Python finds it."""
    if len(manifest.agents) != 1:
        raise Fault(f"the manifest names {len(manifest.agents)} apps of agents", where=str(manifest.path))
    name = manifest.agents[0].module
    beside = manifest.path.parent / f"{name.replace('.', '/')}.py"
    if beside.is_file():
        return beside
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise Fault(f"no module {name}", where=str(manifest.path))
    return Path(found.origin)
