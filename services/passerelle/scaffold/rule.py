"""A new rule: one department's event to another, under an agreement that rests on consent, with a scenario."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from passerelle.city.manifest import Manifest
from passerelle.scaffold.files import template, write
from passerelle_consent.policy.rules import SPECIAL_CLASSES
from passerelle_schemas.catalogue import Catalogue, Contract
from passerelle_schemas.faults import Fault


def new_rule(manifest: Manifest, *, event: str, to: str) -> list[Path]:
    """Add agreement, flow, route and scenario. Raises `Fault`."""
    contract = checked(manifest, Catalogue.load(manifest.contracts), event, to)
    module = module_of(manifest)
    code = module.read_text("utf-8")
    words = _words(contract, to)
    folder = manifest.path.parent
    return write(
        {
            manifest.agreements / contract.department / f"{words['agreement']}.v1.yaml": template(
                "agreement.yaml", **words, events=coverage([contract])
            ),
            manifest.flows / f"{words['flow']}.yaml": template(
                "flow.yaml", **words, agreements=f"  - {words['agreement']}@1\n", required=_required(contract)
            ),
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


def checked(manifest: Manifest, catalogue: Catalogue, event: str, to: str) -> Contract:
    """The contract of an event that a rule may carry to a department. Raises `Fault`."""
    contract = catalogue.by_type(event)
    if to not in manifest.department_ids:
        raise Fault(f"no department {to}", where=str(manifest.path), hint=f"passerelle department new {to}")
    if contract.derived:
        raise Fault(f"{event} is made by agents: a rule begins with what a department publishes")
    if to == contract.department:
        raise Fault(f"{to} publishes {event}: it has no need to receive it")
    special = [field for field in contract.fields if contract.classes[field] in SPECIAL_CLASSES]
    if special:
        what = f"{event}#{special[0]} is {contract.classes[special[0]]} data, which needs a basis of GDPR Art. 9(2)"
        raise Fault(what, hint="write that agreement by hand, with its special_category")
    return contract


def coverage(contracts: Sequence[Contract]) -> str:
    """Each field with its need: the words are the department's to find."""
    lines = []
    for contract in contracts:
        lines += [f"  {contract.type}:", "    fields:"]
        for name in contract.fields:
            lines += [
                f"      {name}:",
                '        fr: "À préciser : pourquoi ce champ est nécessaire."',
                '        en: "To be stated: why this field is needed."',
            ]
    return "".join(f"{line}\n" for line in lines)


def _required(contract: Contract) -> str:
    return "".join(f"  - {name}\n" for name in contract.fields)


def module_of(manifest: Manifest) -> Path:
    """Return the file of the city's only app of agents, beside its manifest or wherever Python finds it."""
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
