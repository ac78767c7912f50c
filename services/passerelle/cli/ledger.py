"""`passerelle ledger`: integrate, verify, prove. Composition root of the ledger."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from passerelle.config import Settings
    from passerelle_consent.ledger.feed import Feed
    from passerelle_consent.ledger.integrate import Integrator
    from passerelle_consent.ledger.note import Verifier
    from passerelle_consent.ledger.prove import ConsistencyProof, InclusionProof
    from passerelle_consent.ledger.verify import Verification

app = typer.Typer(help="The ledger: integrate, verify, prove.", no_args_is_help=True)

PRINCIPAL = "ledger"
KEY_BYTES = 32
ID_BYTES = 16

Folder = Annotated[Path | None, typer.Argument(help="The published log; otherwise this home's.", metavar="[FOLDER]")]
Vkey = Annotated[
    Path | None, typer.Option("--vkey", help="File of the log's verifier key; otherwise <FOLDER>.vkey.", metavar="FILE")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def integrate() -> None:
    """Integrate decisions and consent changes and publish the signed log, until SIGTERM or Ctrl-C."""
    import signal
    from threading import Event

    import structlog

    from passerelle.config import settings
    from passerelle.telemetry import configure

    configure(PRINCIPAL)
    log = structlog.get_logger()
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with _integrator(settings()) as integrator:
        integrator.run(stop, ready=lambda: log.info("ready"))
    log.info("stopped")


@contextmanager
def _integrator(here: "Settings") -> Iterator["Integrator"]:
    import os
    import socket

    from passerelle.city.manifest import Manifest
    from passerelle.keys import LEDGER_MASTER, key_bytes
    from passerelle_consent.ledger.commitments import MasterKey
    from passerelle_consent.ledger.integrate import Integrator
    from passerelle_consent.ledger.note import Signer
    from passerelle_consent.ledger.publish import FolderPublisher
    from passerelle_consent.ledger.store import Store
    from passerelle_schemas.topics import DECISIONS, JOURNAL

    home = here.home
    signer = Signer.of(Manifest.load(here.manifest_path).origin, key_bytes(home.keys, "ledger/signing", KEY_BYTES))
    publisher = FolderPublisher(home.ledger, signer.verifier)
    publisher.write_key()
    home.store.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = Store(home.ledger_store_url)
    with _feed(here, DECISIONS) as decisions, _feed(here, JOURNAL) as journal:
        yield Integrator(
            store=store,
            decisions=decisions,
            journal=journal,
            signer=signer,
            master=MasterKey.of(key_bytes(home.keys, LEDGER_MASTER, KEY_BYTES)),
            publisher=publisher,
            random=os.urandom,
            holder=f"{socket.gethostname()}:{os.getpid()}",
        )
    store.close()


@contextmanager
def _feed(here: "Settings", topic: str) -> Iterator["Feed"]:
    from confluent_kafka import Consumer

    from passerelle_consent.ledger.feed import Feed, consumer_settings

    consumer = Consumer(consumer_settings(here.access(PRINCIPAL).confluent()))
    try:
        yield Feed(consumer, topic)
    finally:
        consumer.close()


@app.command()
def verify(folder: Folder = None, *, vkey: Vkey = None, as_json: AsJson = False) -> None:
    """Verify a published log from its folder and its verifier key alone. Exit 0 valid, 1 invalid, 2 could not tell."""
    from passerelle_consent.ledger.verify import Outcome, verify_folder

    log = _folder(folder)
    result = verify_folder(log, _verifier(log, vkey))
    if as_json:
        typer.echo(json.dumps(_plain(result), ensure_ascii=False))
    else:
        _tell(result, log)
    raise typer.Exit({Outcome.VALID: 0, Outcome.INVALID: 1, Outcome.UNCLEAR: 2}[result.outcome])


def _tell(result: "Verification", log: Path) -> None:
    from passerelle_consent.ledger.verify import Outcome

    if result.outcome is Outcome.VALID:
        assert result.root is not None, "a valid log has an open checkpoint"  # noqa: S101 - an invariant, for mypy
        typer.echo(f"{log}: valid, {result.size} entries of {result.origin}, root {result.root.hex()}")
        return
    word = "INVALID" if result.outcome is Outcome.INVALID else "could not tell"
    more = f" (and {result.findings_total - 1} more: --json)" if result.findings_total > 1 else ""
    # What contradicts stands before what is merely missing.
    first = min(result.findings, key=lambda finding: finding.outcome is not Outcome.INVALID)
    typer.echo(f"{log}: {word}: {first.file}: {first.what}{more}", err=True)
    hint = first.hint or ("keep a copy of this folder before anything else" if word == "INVALID" else None)
    if hint:
        typer.echo(f"  → {hint}", err=True)


def _plain(result: "Verification") -> dict[str, object]:
    return {
        "outcome": result.outcome.value,
        "origin": result.origin,
        "size": result.size,
        "root": result.root.hex() if result.root is not None else None,
        "entries": dict(result.entries),
        "ahead": result.ahead,
        "findings_total": result.findings_total,
        "findings": [{"file": f.file, "what": f.what, "outcome": f.outcome.value} for f in result.findings],
    }


@app.command()
def prove(
    folder: Folder = None,
    *,
    index: Annotated[int | None, typer.Option(min=0, help="Prove that this entry is in the log.", metavar="N")] = None,
    decision: Annotated[
        str | None, typer.Option(help="The same, by the id of the decision or entry.", metavar="HEX")
    ] = None,
    since: Annotated[
        int | None, typer.Option(min=1, help="Prove that the log of this size is its beginning.", metavar="SIZE")
    ] = None,
    vkey: Vkey = None,
    as_json: AsJson = False,
) -> None:
    """Print a proof, checked already: a C2SP tlog-proof of an entry, or a consistency proof since a size."""
    from passerelle_consent.ledger.prove import find, prove_consistency, prove_inclusion

    if sum(option is not None for option in (index, decision, since)) != 1:
        raise typer.BadParameter("name one of --index, --decision and --since")
    log = _folder(folder)
    verifier = _verifier(log, vkey)
    if since is not None:
        typer.echo(json.dumps(_plain_consistency(prove_consistency(log, verifier, since))))
        return
    if decision is not None:
        index = find(log, verifier, _ident(decision))
    assert index is not None, "one of the three is given"  # noqa: S101 - an invariant, for mypy
    proof = prove_inclusion(log, verifier, index)
    typer.echo(json.dumps(_plain_inclusion(proof)) if as_json else proof.encode().decode(), nl=as_json)


def _plain_inclusion(proof: "InclusionProof") -> dict[str, object]:
    return {
        "index": proof.index,
        "entry": json.loads(proof.entry),
        "hashes": [h.hex() for h in proof.hashes],
        "checkpoint": proof.note.decode(),
    }


def _plain_consistency(proof: "ConsistencyProof") -> dict[str, object]:
    return {
        "old": proof.old,
        "new": proof.new,
        "old_root": proof.old_root.hex(),
        "new_root": proof.new_root.hex(),
        "hashes": [h.hex() for h in proof.hashes],
    }


def _ident(text: str) -> bytes:
    try:
        ident = bytes.fromhex(text)
    except ValueError:
        ident = b""
    if len(ident) != ID_BYTES:
        raise typer.BadParameter(f"an id is {2 * ID_BYTES} hexadecimal digits", param_hint="--decision")
    return ident


def _folder(folder: Path | None) -> Path:
    from passerelle.config import settings

    return folder.absolute() if folder else settings().home.ledger


def _verifier(folder: Path, path: Path | None) -> "Verifier":
    from passerelle_consent.ledger.faults import Invalid, Unclear
    from passerelle_consent.ledger.note import Verifier

    path = path or folder.parent / f"{folder.name}.vkey"
    try:
        return Verifier.parse(path.read_text("utf-8").removesuffix("\n"))
    except (OSError, UnicodeDecodeError) as exc:
        what = exc.strerror if isinstance(exc, OSError) else "not UTF-8"
        hint = "name the file of the log's verifier key: --vkey FILE"
        raise Unclear(f"cannot be read ({what})", where=str(path), hint=hint) from None
    except (Invalid, Unclear) as fault:
        raise Unclear(fault.what, where=str(path), hint=fault.hint) from None
