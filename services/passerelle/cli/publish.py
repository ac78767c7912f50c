"""`passerelle publish`: a department's events from files, and its links to the identity register."""

import asyncio
import csv
import json
import sys
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from passerelle.cli import one_event, outbox
from passerelle.cli.inbox import hush_libraries, known_department
from passerelle.cli.options import ConsentUrl

if TYPE_CHECKING:
    from passerelle.config import Settings
    from passerelle.publish.csv_import import CsvImport, Outcome, Tally
    from passerelle.publish.link import LinkClient
    from passerelle.publish.subjects import Subjects
    from passerelle_schemas.catalogue import Catalogue, Contract

HTTP_PORT = 8480

app = typer.Typer(help="Publish a department's events, and link its citizens.", no_args_is_help=True)
app.add_typer(outbox.app, name="outbox")
app.command()(one_event.event)

Department = Annotated[str, typer.Option("--department", "-d", help="Who publishes.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("csv")
def publish_csv(
    file: Annotated[Path, typer.Argument(help="The CSV file, plain or gzip.", dir_okay=False)],
    *,
    mapping: Annotated[Path, typer.Option("--mapping", "-m", help="Which column becomes which field.")],
    department: Department,
    event: Annotated[str | None, typer.Option("--event", "-e", help="The event type; must be the mapping's.")] = None,
    subjects: Annotated[Path | None, typer.Option(help="Pseudonyms to draw from, for open data.")] = None,
    publication: Annotated[str | None, typer.Option(help="Name it again to repeat the same event ids.")] = None,
    from_row: Annotated[int, typer.Option(min=0, help="Go on here after a break, with the same --publication.")] = 0,
    rejects: Annotated[Path | None, typer.Option(help="Report of rejected rows [run/<file>.rejects.csv].")] = None,
    consent_url: ConsentUrl,
    as_json: AsJson = False,
) -> None:
    """Publish every row that can be read; name the others by row and column. Exit 1 when some did not go."""
    from passerelle.config import settings
    from passerelle.publish.csv_import import Tally

    hush_libraries()
    here = settings()
    run = _Run(
        report=rejects or here.home.run / f"{file.name}.rejects.csv",
        source=file,
        tally=Tally(),
        quiet=as_json,
    )
    asked = _Asked(
        mapping=mapping,
        department=department,
        event=event,
        pool=subjects,
        publication=publication or uuid.uuid4().hex,
        consent_url=consent_url,
        from_row=from_row,
    )
    try:
        asyncio.run(_publish(here, run, asked))
    except BaseException:
        # Ctrl-C, or a fault in the middle: what was published stays published, and is said.
        run.close()
        if run.tally.input_rows:
            _tell(run, as_json=as_json)
        if run.tally.published:
            again = f"--publication {asked.publication} --from-row {run.tally.next_row}"
            typer.echo(f"to go on: the same command with {again}", err=True)
        raise
    run.close()
    _tell(run, as_json=as_json)
    if not run.tally.all_went:
        raise typer.Exit(1)


@app.command("link")
def link(
    file: Annotated[Path, typer.Argument(help="CSV with the six columns of a pivot identity.", dir_okay=False)],
    *,
    department: Department,
    consent_url: ConsentUrl,
) -> None:
    """Link the people of a file; print `row,pseudonym` for each. Exit 1 when some could not be linked."""
    from passerelle.config import settings

    if not asyncio.run(_link(settings(), file, department, consent_url)):
        raise typer.Exit(1)


@app.command("http")
def serve_http(
    *,
    department: Department,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 finds a free one.")] = HTTP_PORT,
) -> None:
    """Take JSON events over HTTP until SIGTERM: `/v1/events`, `/v1/events/batch`. Callers have the scope department."""
    from passerelle.cli.ingress import run

    hush_libraries()
    run(department, host, port)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What the command line asked for."""

    mapping: Path
    department: str
    event: str | None
    pool: Path | None
    publication: str
    consent_url: str
    from_row: int


@dataclass(kw_only=True)
class _Run:
    """One publication as the terminal sees it."""

    report: Path
    source: Path
    tally: "Tally"
    quiet: bool
    _file: TextIO | None = None
    _closing: ExitStack = field(default_factory=ExitStack)

    def add(self, outcome: "Outcome") -> None:
        from passerelle.publish.csv_import import Published

        self.tally.add(outcome)
        if not isinstance(outcome, Published):
            self._write(outcome.row, getattr(outcome, "column", None), outcome.problem)

    def _write(self, row: int, column: str | None, problem: str) -> None:
        if self._file is None:
            self.report.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._closing.enter_context(self.report.open("w", encoding="utf-8", newline=""))
            csv.writer(self._file).writerow(("row", "column", "problem"))
        csv.writer(self._file).writerow((row, column or "", problem))

    def close(self) -> None:
        self._closing.close()

    @property
    def reported(self) -> bool:
        return self._file is not None


async def _publish(here: "Settings", run: _Run, asked: _Asked) -> None:
    from passerelle.publish.csv_import import CsvImport
    from passerelle.publish.mapping import load_mapping
    from passerelle.publish.producer import DepartmentProducer

    catalogue = _catalogue(here, asked.department)
    mapping, contract = load_mapping(asked.mapping, catalogue)
    _check_asked_for(asked, contract)
    job = CsvImport(
        path=run.source,
        mapping=mapping,
        publication=asked.publication,
        now=lambda: datetime.now(UTC),
        from_row=asked.from_row,
    )
    async with (
        _register(here, asked.consent_url, asked.department) as links,
        DepartmentProducer(here.access(asked.department), asked.department, catalogue) as producer,
    ):
        await _with_progress(run, job, producer, _subjects(job, links, asked.pool))


async def _with_progress(run: _Run, job: "CsvImport", producer: Any, subjects: "Subjects") -> None:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=run.quiet or not console.is_terminal) as progress:
        task = progress.add_task("publishing", total=None)
        async for outcome in job.run(producer, subjects):
            run.add(outcome)
            progress.update(task, description=f"{run.tally.published} published, {run.tally.rejected} rejected")


def _subjects(job: "CsvImport", links: "LinkClient", pool: Path | None) -> "Subjects":
    from passerelle.publish.subjects import read_pool, subjects_for

    return subjects_for(job.mapping, links=links, pool=read_pool(pool) if pool else ())


def _check_asked_for(asked: _Asked, contract: "Contract") -> None:
    from passerelle_schemas.faults import Fault

    if asked.event is not None and asked.event != contract.type:
        raise Fault(f"maps {contract.type}, not {asked.event}", where=str(asked.mapping))
    if contract.department != asked.department:
        what = f"{contract.type} is published by {contract.department}, not by {asked.department}"
        raise Fault(what, where=str(asked.mapping))


def _catalogue(here: "Settings", department: str) -> "Catalogue":
    """Raises `Fault` for a department that is none, and for a registry that does not agree with the lock."""
    from passerelle.city.manifest import Manifest
    from passerelle.external_registry.agree import require

    manifest = Manifest.load(here.manifest_path)
    known_department(department, {d.id for d in manifest.departments})
    catalogue = manifest.policy_bundle().catalogue
    require(here.registry, catalogue)
    return catalogue


def _register(here: "Settings", consent_url: str, department: str) -> "LinkClient":
    from passerelle.city.manifest import Manifest
    from passerelle.issuer import Bearing, LocalIssuer
    from passerelle.publish.link import LinkClient

    issuer = LocalIssuer(here.home, Manifest.load(here.manifest_path))
    return LinkClient(consent_url, issuer.bearer(Bearing(scopes=["department"], department=department)))


async def _link(here: "Settings", file: Path, department: str, consent_url: str) -> bool:
    from passerelle.publish.link import BATCH_MAX
    from passerelle.publish.mapping import IdentityColumns
    from passerelle.publish.rows import Row, read_rows
    from passerelle.publish.subjects import ByIdentity

    _catalogue(here, department)
    columns = IdentityColumns(**{name: name for name in IdentityColumns.model_fields})
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(("row", "pseudonym"))
    went = True
    batch: list[Row] = []
    async with _register(here, consent_url, department) as links:
        subjects = ByIdentity(columns, links)
        for row in read_rows(file, columns.all()):
            if not isinstance(row, Row):
                went = _say(file, row.row, getattr(row, "column", None), row.problem)
                continue
            batch.append(row)
            if len(batch) == BATCH_MAX:
                went = await _link_batch(file, subjects, batch, out) and went
                batch = []
        return await _link_batch(file, subjects, batch, out) and went


async def _link_batch(file: Path, subjects: "Subjects", batch: list[Any], out: Any) -> bool:
    went = True
    for row, found in zip(batch, await subjects.find([r.cells for r in batch]), strict=True):
        if isinstance(found, bytes):
            out.writerow((row.number, found.hex()))
        else:
            went = _say(file, row.number, found.column, found.problem)
    return went


def _say(file: Path, row: int, column: str | None, problem: str) -> bool:
    place = f"{file}: row {row}" + (f", column {column}" if column else "")
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"{place}: {problem}", markup=False)
    return False


def _tell(run: _Run, *, as_json: bool) -> None:
    tally = run.tally
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "file": str(run.source),
                    "input_rows": tally.input_rows,
                    "published": tally.published,
                    "rejected": tally.rejected,
                    "broken_at_row": tally.broken.row if tally.broken else None,
                    "rejects": str(run.report) if run.reported else None,
                }
            )
        )
        return
    for rejected in tally.shown:
        _say(run.source, rejected.row, rejected.column, rejected.problem)
    if tally.rejected > len(tally.shown):
        typer.echo(f"… and {tally.rejected - len(tally.shown)} more", err=True)
    if tally.broken:
        _say(run.source, tally.broken.row, None, f"{tally.broken.problem}: nothing after this row was read")
    typer.echo(f"{tally.input_rows} rows read, {tally.published} published, {tally.rejected} rejected")
    if run.reported:
        typer.echo(f"report: {run.report}", err=True)
