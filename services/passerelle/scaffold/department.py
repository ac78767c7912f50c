"""A new department: in the manifest, and its first event if it publishes one."""

import json
from pathlib import Path

from passerelle.city.manifest import RESERVED, Manifest
from passerelle.scaffold.files import Taken, template, write
from passerelle_schemas.documents import Document
from passerelle_schemas.faults import Fault
from passerelle_schemas.published import LOCK, Entry, Lock
from passerelle_schemas.shape import digest


def new_department(manifest: Manifest, ident: str, *, fr: str, en: str, event: str | None = None) -> list[Path]:
    """Add a department, and a contract ``<ident>.<event>.v1`` to start from. Raises `Fault`."""
    if ident in manifest.department_ids:
        raise Taken(f"{ident} is a department already", where=str(manifest.path))
    if ident in RESERVED:
        raise Fault(f"{ident} is a principal of the bus itself", hint="choose another id")
    entry = template("department.yaml", id=ident, fr=fr, en=en, city=manifest.id)
    new, changed = {}, {manifest.path: _inserted(Document(manifest.path), entry)}
    if event is not None:
        contract = template(
            "contract.avsc", department=ident, name=_camel(event), namespace=f"{manifest.id}.{ident}".replace("-", "_")
        )
        new[manifest.contracts / ident / f"{event}.v1.avsc"] = contract
        lock, type_ = Lock.read(manifest.contracts / LOCK), f"{ident}.{event}.v1"
        entry_of = Entry(id=lock.ids_with([type_])[type_], sha256=digest(json.loads(contract)))
        changed[lock.path] = lock.text_with({type_: entry_of})
    return write(new, changed)


def _inserted(document: Document, entry: str) -> str:
    """The manifest with one department more, behind the last; the rest keeps its words and comments."""
    lines = document.path.read_text("utf-8").splitlines(keepends=True)
    at = document.line(("departments", len(document.value["departments"]) - 1))
    while at < len(lines) and (lines[at].startswith((" ", "\t")) or lines[at] == "\n"):
        at += 1
    while lines[at - 1] == "\n":
        at -= 1
    return "".join((*lines[:at], entry, *lines[at:]))


def _camel(event: str) -> str:
    return "".join(part.title() for part in event.split("-"))
