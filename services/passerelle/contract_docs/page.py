"""The catalogue page: every contract for people, in French and in English, one file that needs nothing else. Pure."""

from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from passerelle.city.manifest import Manifest
from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_schemas.catalogue import Contract
from passerelle_schemas.classes import CLASSES, SPECIAL
from passerelle_schemas.registry import subjects_of

HEAD = "<!doctype html>\n<!-- passerelle contracts docs -->\n"


def page(manifest: Manifest, bundle: PolicyBundle) -> str:
    """Return the HTML; the same contracts and flows make the same one."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(
        files("passerelle.contract_docs").joinpath("catalogue.html").read_text(encoding="utf-8")
    )
    departments = {department.id: department.name for department in manifest.departments}
    said = template.render(
        city=manifest.name,
        digest=bundle.digest.hex(),
        contracts=[_shown(contract, bundle) for contract in bundle.catalogue],
        departments=departments,
    )
    return HEAD + said


def _shown(contract: Contract, bundle: PolicyBundle) -> dict[str, Any]:
    flows = [flow for flow in bundle.flows if flow.event == contract.type]
    optional = {name for flow in flows for name in flow.optional}
    return {
        "contract": contract,
        "subjects": subjects_of(contract),
        "flows": flows,
        "fields": [
            {
                "name": spec["name"],
                "type": _type(spec["type"]),
                "class": CLASSES.get(contract.classes[spec["name"]]),
                "special": contract.classes[spec["name"]] in SPECIAL,
                "optional": spec["name"] in optional,
                "said": spec.get("passerelle.description"),
                "sources": spec.get("passerelle.from", ()),
            }
            for spec in contract.schema["fields"]
        ],
    }


def _type(type_: Any) -> str:
    """A type in a word or two."""
    if isinstance(type_, str):
        return type_
    if isinstance(type_, list):
        return " | ".join(_type(branch) for branch in type_)
    if type_["type"] == "enum":
        return ", ".join(type_["symbols"])
    if type_["type"] in ("array", "map"):
        return f"{type_['type']} ({_type(type_.get('items', type_.get('values')))})"
    return str(type_.get("logicalType") or type_.get("name") or type_["type"])
