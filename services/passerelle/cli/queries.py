"""`passerelle ledger index|export|verify-export`: find a log's entries by what they say, and take them away, proven."""

from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from passerelle.cli.logs import Log, Token, Vkey, open_log, parse_vkey, verifier_of

if TYPE_CHECKING:
    from threading import Event

    from passerelle_consent.ledger.log.note import Verifier
    from passerelle_consent.ledger.query.export import Export, Verified
    from passerelle_consent.ledger.query.select import Selection


def index(
    log: Log = None,
    *,
    vkey: Vkey = None,
    token: Token = None,
    once: Annotated[bool, typer.Option("--once", help="Stop when all that is published is indexed.")] = False,
) -> None:
    """Index a published log, so that its entries are found by what they say, until SIGTERM or Ctrl-C."""
    import structlog

    from passerelle.config import settings
    from passerelle.telemetry import configure
    from passerelle_consent.ledger.query.follow import Follower
    from passerelle_consent.ledger.query.index import Index

    configure("ledger-index")
    here, line = settings(), structlog.get_logger()
    here.home.store.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open_log(log, token) as source:
        follower = Follower(source, lambda: verifier_of(source, vkey), Index(here.ledger_index_url()))
        if once:
            line.info("indexed all", size=follower.catch_up())
            return
        follower.run(stopped_by_signal(), ready=lambda: line.info("ready"))
    line.info("stopped")


def export(
    log: Log = None,
    *,
    out: Annotated[Path, typer.Option("--out", help="Where to; the proof comes beside it, as <OUT>.proof.")],
    format: Annotated[  # noqa: A002 - the option's name
        str | None, typer.Option(help="jsonl, csv or parquet; otherwise what the name ends with.")
    ] = None,
    start: Annotated[int, typer.Option(min=0, help="From this place in the log on.")] = 0,
    end: Annotated[int | None, typer.Option(min=0, help="Before this place.")] = None,
    since: Annotated[str | None, typer.Option(help="Not before this time (RFC 3339).")] = None,
    until: Annotated[str | None, typer.Option(help="Before this time (RFC 3339).")] = None,
    type: Annotated[str | None, typer.Option(help="Of this type.")] = None,  # noqa: A002 - the option's name
    verdict: Annotated[str | None, typer.Option(help="Decided so: permit, redact or deny.")] = None,
    reason: Annotated[str | None, typer.Option(help="Decided for this reason.")] = None,
    flow: Annotated[str | None, typer.Option(help="Of this flow.")] = None,
    recipient: Annotated[str | None, typer.Option(help="To this department.")] = None,
    department: Annotated[str | None, typer.Option(help="To this department, or by it.")] = None,
    agreement: Annotated[str | None, typer.Option(help="Under this agreement: id@version, or id for all.")] = None,
    vkey: Vkey = None,
    token: Token = None,
) -> None:
    """Export entries, with a proof that checks them offline. With no filter, it also shows that none is left out."""
    from passerelle_consent.ledger.query.export import Export

    said = {"type": type, "verdict": verdict, "reason": reason, "flow": flow}
    said |= {"recipient": recipient, "department": department, "agreement": agreement}
    said |= {"since": _time(since, "--since"), "until": _time(until, "--until")}
    asked = _selection({name: value for name, value in said.items() if value is not None})
    with open_log(log, token) as source:
        verifier = verifier_of(source, vkey)
        written = Export(log=source, verifier=verifier, asked=asked, format=_format(format, out), start=start, end=end)
        typer.echo(_told(out, _write(written, out)))


def _write(export: "Export", out: Path) -> "Verified":
    """Write both files and check them; a file that stands under its name is whole, and has its proof."""
    from passerelle_consent.ledger.faults import Unclear

    data, proof = _part(out), _part(_proof(out))
    try:
        with data.open("wb") as rows, proof.open("wb") as hashes:
            for _ in chain(export.write(export.found(), rows), export.prove(hashes)):
                pass
        verified = _verified(data, proof, export.verifier)
        proof.replace(_proof(out))
        data.replace(out)
    except OSError as exc:
        raise Unclear(f"cannot be written ({exc.strerror})", where=str(out)) from None
    finally:
        data.unlink(missing_ok=True)
        proof.unlink(missing_ok=True)
    return verified


def verify_export(
    file: Annotated[Path, typer.Argument(help="What `ledger export` wrote, or what stood in the service's archive.")],
    *,
    vkey: Annotated[str, typer.Option("--vkey", help="The log's verifier key, or its file.")],
    proof: Annotated[Path | None, typer.Option(help="Its proof; otherwise <FILE>.proof.", metavar="FILE")] = None,
) -> None:
    """Verify an export alone, without its log. Exit 0 it holds, 1 it does not, 2 could not tell."""
    typer.echo(_told(file, _verified(file, proof or _proof(file), parse_vkey(vkey))))


def _verified(data: Path, proof: Path, verifier: "Verifier") -> "Verified":
    from passerelle_consent.ledger.faults import Invalid, Unclear
    from passerelle_consent.ledger.query.export import verify_export

    try:
        with data.open("rb") as rows, proof.open("rb") as hashes:
            return verify_export(rows, hashes, verifier)
    except OSError as exc:
        raise Unclear(f"cannot be read ({exc.strerror})", where=str(exc.filename)) from None
    except (Invalid, Unclear) as fault:
        raise type(fault)(fault.what, where=str(data), hint=fault.hint) from None


def _told(file: Path, verified: "Verified") -> str:
    head, checkpoint = verified.head, verified.checkpoint
    asked = ", ".join(f"{name} {value}" for name, value in head.asked.plain().items())
    what = f"with {asked}" if asked else "all of them"
    at = f"places {head.start} to {head.end} of {checkpoint.origin} at size {checkpoint.size}"
    return f"{file}: valid, {head.entries} entries, {what}, from {at}"


def _format(named: str | None, out: Path) -> str:
    from passerelle_consent.ledger.query.export import FORMATS

    found = named or out.suffix.removeprefix(".")
    if found not in FORMATS:
        raise typer.BadParameter(f"one of {', '.join(FORMATS)}", param_hint="--format")
    return found


def _selection(said: dict[str, str]) -> "Selection":
    from passerelle_consent.ledger.faults import Invalid
    from passerelle_consent.ledger.query.select import Selection

    for name, value in said.items():
        try:
            Selection.of_plain({name: value})
        except Invalid:
            raise typer.BadParameter(f"no entry has the {name} {value!r}", param_hint=f"--{name}") from None
    return Selection.of_plain(said)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _time(text: str | None, option: str) -> str | None:
    """Return a time as entries spell it. Raises a usage error."""
    from passerelle_consent.ledger.log.entries import time_text

    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise typer.BadParameter("a time is like 2026-05-01T00:00:00Z", param_hint=option)
    return time_text(max(0, (time - _EPOCH) // timedelta(milliseconds=1)))


def _proof(file: Path) -> Path:
    return file.with_name(f"{file.name}.proof")


def _part(file: Path) -> Path:
    """Where it is written until it is whole."""
    return file.with_name(f".{file.name}.part")


def stopped_by_signal() -> "Event":
    """Return an event that SIGTERM and Ctrl-C set."""
    import signal
    from threading import Event

    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
