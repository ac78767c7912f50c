"""`passerelle contracts`: contracts as code."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from passerelle.config import settings

if TYPE_CHECKING:
    from passerelle_schemas.catalogue import Catalogue
    from passerelle_schemas.check import Finding
    from passerelle_schemas.contract_files import ContractFiles

PORT = 8471
COMPONENT = "registry"

app = typer.Typer(help="Contracts: check them, make code and documents of them, serve them.", no_args_is_help=True)

Folder = Annotated[
    Path | None,
    typer.Argument(
        metavar="[FOLDER]", help="A folder of contracts by itself; else the city's, with its flows and agents."
    ),
]


@app.command()
def check(
    folder: Folder = None,
    *,
    lock: Annotated[bool, typer.Option("--lock", help="Then give what is new its schema id, for ever.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check every contract, and each new version against the promise of the one before; name file and line."""
    files, found = _checked(folder)
    locked: list[str] = []
    if lock and all(finding.warning or finding.rule == "published" for finding in found):
        locked = files.publish()
        files, found = _checked(folder)
    if as_json:
        _print_json(files, found, locked)
    else:
        _print(files, found, locked)
    raise typer.Exit(0 if all(finding.warning for finding in found) else 1)


def _checked(folder: Path | None) -> "tuple[ContractFiles, list[Finding]]":
    """Raises `Fault` for a folder that is none, `DocumentFault` for a manifest or a lock that cannot be read."""
    from passerelle_schemas.contract_files import ContractFiles
    from passerelle_schemas.faults import Fault

    if folder is None:
        from passerelle.city import contracts
        from passerelle.city.manifest import Manifest

        manifest = Manifest.load(settings().manifest_path)
        files = ContractFiles.read(manifest.contracts)
        return files, contracts.findings(manifest, files)
    from passerelle_schemas.check import check

    if not folder.is_dir():
        raise Fault("no such folder", where=str(folder))
    files = ContractFiles.read(folder)
    return files, check(files)


def _print(files: "ContractFiles", found: "list[Finding]", locked: list[str]) -> None:
    for finding in found:
        typer.echo(f"{'warning: ' if finding.warning else ''}{finding.text} [{finding.rule}]", err=not finding.warning)
    for type_ in locked:
        typer.echo(f"locked: {type_}")
    wrong = sum(not finding.warning for finding in found)
    count = len(files.contracts)
    typer.echo(f"{count} contract{'' if count == 1 else 's'}: {wrong or 'no'} problem{'' if wrong == 1 else 's'}")


def _print_json(files: "ContractFiles", found: "list[Finding]", locked: list[str]) -> None:
    said = {
        "contracts": len(files.contracts),
        "problems": [{"rule": f.rule, "text": f.text} for f in found if not f.warning],
        "warnings": [{"rule": f.rule, "text": f.text} for f in found if f.warning],
        "locked": locked,
    }
    typer.echo(json.dumps(said, ensure_ascii=False))


@app.command()
def relock(
    event: Annotated[str, typer.Argument(help="Which contract: <department>.<event>.v<n>.", metavar="EVENT")],
) -> None:
    """Lock an edited contract anew, under its id, while no record of it was ever written. Exit code 1: some were.

    It asks this city's own broker. Of a city in production nobody can tell: there a change is a new version.
    """
    from passerelle.city.manifest import Manifest
    from passerelle.city.written import ever_written
    from passerelle_schemas.catalogue import UnknownContract
    from passerelle_schemas.contract_files import ContractFiles
    from passerelle_schemas.documents import DocumentFault
    from passerelle_schemas.faults import Fault

    here = settings()
    files = ContractFiles.read(Manifest.load(here.manifest_path).contracts)
    contract = next((contract for _, contract in files.contracts if contract.type == event), None)
    if contract is None and files.problems:
        raise DocumentFault(files.problems)
    if contract is None or event not in files.lock.entries:
        raise UnknownContract(f"no contract {event} is locked", hint="passerelle contracts check --lock")
    if ever_written(here, contract):
        refused = Fault(f"{event}: records of it were written", hint=f"make a v{contract.version + 1} of it")
        refused.exit_code = 1
        raise refused
    files.lock.renew(contract)
    typer.echo(f"locked anew: {event}")


@app.command()
def serve(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 finds a free one.")] = PORT,
) -> None:
    """Serve the contracts as a schema registry, read-only, until SIGTERM: what Confluent's clients ask for."""
    import asyncio

    from passerelle.cli import serving
    from passerelle.registry import application
    from passerelle.telemetry import configure
    from passerelle_schemas.registry import Registry

    configure(COMPONENT)
    served = application(Registry(_catalogue()))
    with serving.listen(host, port) as listening:
        asyncio.run(serving.serve(serving.server(served), listening, COMPONENT))


@app.command()
def push(
    *,
    registry: Annotated[
        str | None, typer.Option("--registry", metavar="URL", help="The external registry [PASSERELLE_REGISTRY].")
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Put there what is missing; without it, only say it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Put the contracts into a registry that the city runs already, under the ids that are locked. Exit 1 on conflict.

    Apicurio Registry 3 by its import (URL: http://<host>:8080/apis/ccompat/v7), others by Confluent's mode IMPORT.
    """
    from passerelle.external_registry import agree
    from passerelle_schemas.faults import Fault

    url = registry or settings().registry
    if url is None:
        raise Fault("no registry is named", hint="passerelle contracts push --registry URL")
    catalogue = _catalogue()
    found = agree.push(url, catalogue) if apply else agree.compared(url, catalogue)
    lacking = [(m.subject, m.contract.version, m.contract.schema_id) for m in found.missing]
    if as_json:
        rows = [dict(zip(("subject", "version", "id"), row, strict=True)) for row in lacking]
        typer.echo(json.dumps({"missing": rows, "conflicts": found.conflicts, "applied": apply}, ensure_ascii=False))
    else:
        for subject, version, schema_id in lacking:
            typer.echo(f"{'put' if apply else 'to put'}: {subject} v{version}, id {schema_id}")
        for text in found.conflicts:
            typer.echo(f"conflict: {text}", err=True)
        if found.settled:
            typer.echo("the registry says what the lock says")
    raise typer.Exit(1 if found.conflicts else 0)


@app.command()
def codegen(
    *,
    out: Annotated[Path, typer.Option(help="Folder of the Python package to write.", metavar="DIR")],
    check_only: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 1 when it would be another.")
    ] = False,
) -> None:
    """Write a frozen, typed class for each contract, with the way to and from Avro. The standard library is enough."""
    from passerelle.made import differing, write_made
    from passerelle_schemas.codegen import HEAD, modules

    files = {out / name: text for name, text in modules(_catalogue()).items()}
    if check_only:
        _tell_differing(differing(files))
    else:
        write_made(files, head=HEAD)
        typer.echo(f"wrote {len(files)} files in {out}")


def _catalogue() -> "Catalogue":
    from passerelle.city.manifest import Manifest
    from passerelle_schemas.catalogue import Catalogue

    return Catalogue.load(Manifest.load(settings().manifest_path).contracts)


def _tell_differing(paths: list[Path]) -> None:
    for path in paths:
        typer.echo(f"{path}: is not what the contracts make")
    raise typer.Exit(1 if paths else 0)


@app.command()
def docs(
    *,
    out: Annotated[Path, typer.Option(help="Folder to write to.", metavar="DIR")],
    check_only: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 1 when it would be another.")
    ] = False,
) -> None:
    """Write an AsyncAPI 3 document of the city's events, and a catalogue page in French and English."""
    from passerelle.city.manifest import Manifest
    from passerelle.contract_docs.asyncapi import document, text
    from passerelle.contract_docs.page import HEAD, page
    from passerelle.made import differing, write_made

    manifest = Manifest.load(settings().manifest_path)
    bundle = manifest.policy_bundle()
    described, shown = (
        {out / "asyncapi.json": text(document(manifest, bundle))},
        {out / "index.html": page(manifest, bundle)},
    )
    if check_only:
        _tell_differing(differing({**described, **shown}))
    write_made(shown, head=HEAD)
    write_made(described, head='{\n  "asyncapi": ')
    for path in (*described, *shown):
        typer.echo(f"wrote {path}")
