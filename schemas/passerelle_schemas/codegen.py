"""Typed classes out of contracts: one frozen dataclass for each event, with the way to and from the codec's dict. Pure.

The text depends on the contracts alone, so that it can be committed and compared. It imports the standard library and
nothing else. A field about somebody is left out of ``repr``, which is what ends up in logs.
"""

import json
import keyword
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from passerelle_schemas.avro_python import ENUM_MARK, NotWritable, python_of
from passerelle_schemas.classes import ABOUT_NOBODY
from passerelle_schemas.contract import Contract
from passerelle_schemas.shape import Shape, shape

HEAD = '"""Made by `passerelle contracts codegen`: change the contract, not this."""\n'
_IMPORTS = """
from __future__ import annotations

import datetime as _datetime
import decimal as _decimal
import uuid as _uuid
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as _field
from enum import StrEnum
from typing import Any, ClassVar

__all__ = [
"""


def modules(contracts: Iterable[Contract]) -> dict[str, str]:
    """File name → Python text: a module for each department, and the package. Raises `NotWritable`."""
    ordered = sorted(contracts, key=lambda contract: (contract.department, contract.event, contract.version))
    made = {
        f"{_module(department)}.py": _department(list(group))
        for department, group in groupby(ordered, key=lambda contract: contract.department)
    }
    return {"__init__.py": _package(ordered), **made, "py.typed": ""}


def class_name(contract: Contract) -> str:
    """``AddressChangedV1``: the version always stands in it, so that a second one renames nothing."""
    return f"{contract.schema['name']}V{contract.version}"


def _module(department: str) -> str:
    name = department.replace("-", "_")
    return f"{name}_" if keyword.iskeyword(name) else name


def _package(contracts: list[Contract]) -> str:
    names = sorted({_module(contract.department) for contract in contracts})
    events = "".join(f'    "{c.type}": {_module(c.department)}.{class_name(c)},\n' for c in contracts)
    return (
        f"{HEAD}\nfrom __future__ import annotations\n\nfrom collections.abc import Mapping\nfrom typing import Any\n\n"
        f"from . import {', '.join(names)}\n\n__all__ = {json.dumps(['EVENTS', *names])}\n\n"
        f'EVENTS: Mapping[str, type[Any]] = {{\n{events}}}\n"""Event type → its class."""\n'
    )


def _department(contracts: list[Contract]) -> str:
    blocks = [block for contract in contracts for block in _classes(contract)]
    names = "".join(f'    "{name}",\n' for name, _ in blocks)
    return HEAD + _IMPORTS + f"{names}]\n" + "".join(f"\n\n{text}" for _, text in blocks)


def _classes(contract: Contract) -> Iterator[tuple[str, str]]:
    """(name, text) of each class of a contract, what it is made of first."""
    whole, top = shape(contract.schema), class_name(contract)
    inner = list(_named(whole))
    classes = {s["name"]: (ENUM_MARK if s["type"] == "enum" else "") + _inner(top, s["name"]) for s in inner}
    classes[whole["name"]] = top
    for named in inner[:-1]:  # the last is the event itself
        name = _inner(top, named["name"])
        yield name, _enum(name, named) if named["type"] == "enum" else _record(contract, name, named, {}, classes)
    described = {said["name"]: said for said in contract.schema["fields"]}
    yield top, _record(contract, top, whole, described, classes)


def _inner(top: str, full_name: str) -> str:
    return f"{top}{full_name.rpartition('.')[2]}"


def _named(at: Shape) -> Iterator[Mapping[str, Any]]:
    """Every named type that needs a class, from the inside out."""
    if isinstance(at, list):
        for branch in at:
            yield from _named(branch)
    elif isinstance(at, dict):
        for inner in (*(f["type"] for f in at.get("fields", ())), at.get("items"), at.get("values")):
            yield from _named(inner)
        if at["type"] in ("record", "enum"):
            yield at


def _enum(name: str, named: Mapping[str, Any]) -> str:
    symbols = "".join(f'    {symbol} = "{symbol}"\n' for symbol in named["symbols"])
    return f"class {name}(StrEnum):\n    {_doc(named['name'])}\n\n{symbols}"


def _record(contract: Contract, name: str, at: Shape, described: Mapping[str, Any], classes: Mapping[str, str]) -> str:
    try:
        written = {f["name"]: python_of(f["type"], classes) for f in at["fields"]}
    except NotWritable as fault:
        raise NotWritable(fault.what, where=contract.type, hint=fault.hint) from None
    lines = ["@dataclass(frozen=True, slots=True, kw_only=True)", f"class {name}:"]
    if described:
        lines += [f"    {_doc(f'{contract.description.en} {contract.type}, of {contract.owner}.')}", ""]
        lines += [
            f'    TYPE: ClassVar[str] = "{contract.type}"',
            f"    SCHEMA_ID: ClassVar[int] = {contract.schema_id}",
        ]
    else:
        lines += [f"    {_doc(at['name'])}"]
    lines += [""]
    for spec in at["fields"]:
        lines += _field(spec, written[spec["name"]].annotation, described.get(spec["name"]))
    to = [f'            "{n}": {p.to(f"self.{n}")},' for n, p in written.items()]
    lines += ["", "    def to_avro(self) -> dict[str, Any]:", "        return {", *to, "        }", ""]
    back = [f"            {n}={p.back(f'value[{json.dumps(n)}]')}," for n, p in written.items()]
    lines += ["    @classmethod", f"    def from_avro(cls, value: Mapping[str, Any]) -> {name}:", "        return cls("]
    return "\n".join([*lines, *back, "        )"]) + "\n"


def _field(spec: Shape, annotation: str, described: Mapping[str, Any] | None) -> list[str]:
    """A field of a nested record has no class of its own: it counts as being about somebody."""
    options = [] if described and described["passerelle.class"] == ABOUT_NOBODY else ["repr=False"]
    if "default" in spec and spec["default"] is None:
        options = ["default=None", *options]
    value = f" = _field({', '.join(options)})" if options else ""
    said = (described or {}).get("passerelle.description", {}).get("en")
    return [f"    {spec['name']}: {annotation}{value}", *([f"    {_doc(said)}"] if said else [])]


def _doc(text: str) -> str:
    r"""A docstring of one line: quotes and backslashes in it end nothing."""
    said = " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"')
    return f'"""{said}"""'
