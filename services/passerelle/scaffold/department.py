"""A new department: in the manifest, and its first event if it publishes one."""

from pathlib import Path

from passerelle.city.manifest import RESERVED, Manifest
from passerelle.scaffold.files import Taken, template, write
from passerelle_schemas.catalogue import Catalogue
from passerelle_schemas.documents import Document
from passerelle_schemas.faults import Fault


def new_department(manifest: Manifest, ident: str, *, fr: str, en: str, event: str | None = None) -> list[Path]:
    """Add a department, and a contract ``<ident>.<event>.v1`` to start from. Raises `Fault`."""
    if ident in manifest.department_ids:
        raise Taken(f"{ident} is a department already", where=str(manifest.path))
    if ident in RESERVED:
        raise Fault(f"{ident} is a principal of the bus itself", hint="choose another id")
    entry = template("department.yaml", id=ident, fr=fr, en=en, city=manifest.id)
    new, changed = {}, {manifest.path: _inserted(Document(manifest.path), entry)}
    if event is not None:
        new[manifest.contracts / ident / f"{event}.v1.avsc"] = template(
            "contract.avsc", department=ident, name=_camel(event), namespace=f"{manifest.id}.{ident}".replace("-", "_")
        )
        ids = manifest.contracts / "ids.lock.yaml"
        last = max((c.schema_id for c in Catalogue.load(manifest.contracts)), default=0)
        changed[ids] = ids.read_text("utf-8").rstrip("\n").removesuffix("\n{}") + f"\n{ident}.{event}.v1: {last + 1}\n"
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
