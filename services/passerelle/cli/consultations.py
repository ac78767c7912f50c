"""`passerelle consent consultations`: a department asks the city's people about a draft agreement, and answers them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from passerelle.cli.inbox import known_department
from passerelle.cli.options import ConsentUrl
from passerelle.cli.printable import on_one_line, printable

if TYPE_CHECKING:
    import httpx

    from passerelle.consultations import Consultations

app = typer.Typer(help="Public consultations about draft agreements.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="The consultation's id.", metavar="ID")]
Department = Annotated[str | None, typer.Option("--department", "-d", help="Whose officer asks: the draft's source.")]
TokenFile = Annotated[
    Path | None,
    typer.Option("--token-file", help="File of an officer's access token; without, the city's own issuer mints one."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("open")
def open_(
    consultation: Id,
    file: Annotated[Path, typer.Argument(help="What is asked, as YAML: draft, question, arguments, dates.")],
    *,
    department: Department = None,
    token_file: TokenFile = None,
    consent_url: ConsentUrl,
) -> None:
    """Publish a consultation. It opens and closes on its days, and is never edited; the same again changes nothing."""
    from passerelle.consultations import read_asked

    asked = read_asked(file)
    with _officer(department, token_file, consent_url) as consultations:
        said = consultations.publish(consultation, asked)
    typer.echo(f"{said['id']}: {said['agreement']}, open from {said['opens_at']} to {said['closes_at']}")


@app.command("list")
def list_(*, consent_url: ConsentUrl, as_json: AsJson = False) -> None:
    """List all consultations, the latest to open first."""
    with _anybody(consent_url) as consultations:
        found = list(consultations.every())
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    table = Table("Consultation", "Draft", "Department", "Phase", "Opens", "Closes", "For", "Against")
    for said in found:
        voices = said["voices"] or {"support": "", "object": ""}
        told = (said["id"], said["agreement"], said["department"], said["phase"], said["opens_at"], said["closes_at"])
        table.add_row(*told, str(voices["support"]), str(voices["object"]))
    Console().print(table)


@app.command()
def show(consultation: Id, *, consent_url: ConsentUrl, as_json: AsJson = False) -> None:
    """Show a consultation: what is asked, where it stands and, once it is closed, how the voices fell."""
    with _anybody(consent_url) as consultations:
        said = consultations.one(consultation)
    if as_json:
        typer.echo(json.dumps(said, ensure_ascii=False))
        return
    for line in _lines(said):
        typer.echo(printable(line))


@app.command()
def arguments(
    consultation: Id,
    *,
    department: Department = None,
    token_file: TokenFile = None,
    consent_url: ConsentUrl,
    as_json: AsJson = False,
) -> None:
    """List the citizens' arguments that an officer is still to read."""
    with _officer(department, token_file, consent_url) as consultations:
        waiting = consultations.waiting(consultation)
    if as_json:
        typer.echo(json.dumps(waiting, ensure_ascii=False))
        return
    for said in waiting:
        typer.echo(f"{said['n']:>5}  {said['side']:<8} {said['language']}  {on_one_line(said['text'])}")


@app.command()
def rule(
    consultation: Id,
    n: Annotated[int, typer.Argument(help="The argument's number.", min=1)],
    ruling: Annotated[Literal["published", "names-a-person", "insulting", "off-topic"], typer.Argument()],
    *,
    department: Department = None,
    token_file: TokenFile = None,
    consent_url: ConsentUrl,
) -> None:
    """Publish an argument, or say why not."""
    with _officer(department, token_file, consent_url) as consultations:
        consultations.rule(consultation, n, ruling)


@app.command()
def answer(
    consultation: Id,
    *,
    outcome: Annotated[Literal["adopted", "amended", "abandoned"], typer.Option(help="What becomes of the draft.")],
    french: Annotated[str, typer.Option("--fr", help="The answer, in French.")],
    english: Annotated[str, typer.Option("--en", help="The answer, in English.")],
    department: Department = None,
    token_file: TokenFile = None,
    consent_url: ConsentUrl,
) -> None:
    """Answer a consultation that is over: its result becomes a leaf of the ledger, and is not answered again."""
    from passerelle_schemas.catalogue import Text

    with _officer(department, token_file, consent_url) as consultations:
        said = consultations.answer(consultation, outcome, Text(fr=french, en=english))
    typer.echo(f"{said['id']}: {outcome}; {said['voices']['support']} for, {said['voices']['object']} against")


@app.command()
def close(
    consultation: Id,
    *,
    agreements: Annotated[
        Path | None, typer.Option(help="Folder of the agreements; otherwise the city's.", metavar="FOLDER")
    ] = None,
    consent_url: ConsentUrl,
) -> None:
    """Write the version that was consulted about, with its result, among the agreements, to be signed and locked."""
    from passerelle.consultations import close as written

    folder = agreements or _agreements()
    with _anybody(consent_url) as consultations:
        path = written(consultations, consultation, folder)
    typer.echo(f"{path}\n  → read it, have it signed, then: passerelle city lint --lock")


def _lines(said: dict[str, Any]) -> Iterator[str]:
    published = said["published"]
    yield f"{said['id']}  {said['phase']}  {said['agreement']}  by {said['department']}"
    yield f"open from {said['opens_at']} to {said['closes_at']}"
    if "question" in published:
        yield published["question"]["fr"]
        yield published["question"]["en"]
    if said["voices"] is not None:
        yield f"{said['voices']['support']} for, {said['voices']['object']} against"
    if said["result"] is not None:
        yield f"{said['result']['outcome']}: {said['result']['answer']['fr']}"


def _agreements() -> Path:
    from passerelle.city.manifest import Manifest
    from passerelle.config import settings

    return Manifest.load(settings().manifest_path).agreements


@contextmanager
def _anybody(consent_url: str) -> Iterator["Consultations"]:
    with _client(consent_url, None) as consultations:
        yield consultations


@contextmanager
def _officer(department: str | None, token_file: Path | None, consent_url: str) -> Iterator["Consultations"]:
    with _client(consent_url, _auth(department, token_file)) as consultations:
        yield consultations


@contextmanager
def _client(consent_url: str, auth: "httpx.Auth | None") -> Iterator["Consultations"]:
    import httpx

    from passerelle.consultations import TIMEOUT_S, Consultations

    with httpx.Client(base_url=consent_url, auth=auth, timeout=TIMEOUT_S) as client:
        yield Consultations(client)


def _auth(department: str | None, token_file: Path | None) -> "httpx.Auth":
    """Return an officer's token: a provider's, or one of the city's own issuer. Raises `Fault`."""
    from passerelle.city.manifest import Manifest
    from passerelle.config import settings
    from passerelle.issuer import Bearer, Bearing, LocalIssuer
    from passerelle_schemas.faults import Fault

    if token_file is not None:
        try:
            token = token_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            raise Fault("cannot be read", where=str(token_file), hint="a file that holds an access token") from None
        return Bearer(lambda: token)
    if department is None:
        raise typer.BadParameter(
            "whose officer asks? name the department, or a --token-file", param_hint="--department"
        )
    here = settings()
    manifest = Manifest.load(here.manifest_path)
    known_department(department, set(manifest.department_ids))
    return LocalIssuer(here.home, manifest).bearer(Bearing(scopes=["officer"], department=department))
