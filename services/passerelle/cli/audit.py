"""`passerelle ledger verify|fsck|prove|verify-proof`: what an auditor asks of a log. No Kafka, no database."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from passerelle.cli.logs import (
    AsJson,
    Log,
    PolicyFile,
    Token,
    Vkey,
    open_log,
    parse_vkey,
    read_bytes,
    read_policy,
    verifier_of,
)

if TYPE_CHECKING:
    from passerelle_consent.ledger.audit.prove import InclusionProof
    from passerelle_consent.ledger.audit.verify import Progress, Verification
    from passerelle_consent.ledger.log.note import Verifier

ID_BYTES = 16


def verify(
    log: Log = None,
    *,
    vkey: Vkey = None,
    policy: PolicyFile = None,
    token: Token = None,
    store: Annotated[bool, typer.Option("--store", help="This home's database as well, with its master key.")] = False,
    as_json: AsJson = False,
) -> None:
    """Verify a published log: fsck, and every entry read. Exit 0 valid, 1 invalid, 2 could not tell."""
    from passerelle_consent.ledger.audit.verify import verify as read

    if store:
        with open_log(log, token) as source:
            examined(verifier_of(source, vkey))

    with open_log(log, token) as source:
        trust = None if policy is None else read_policy(policy)
        with _progress("Reading entries") as progress:
            result = read(source, verifier_of(source, vkey), trust, progress=progress)
        _conclude(result, source.where, as_json=as_json)


def fsck(
    log: Log = None,
    *,
    vkey: Vkey = None,
    policy: PolicyFile = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Rebuild the root from the entry bundles and check every tile. Exit 0 valid, 1 invalid, 2 could not tell."""
    from passerelle_consent.ledger.audit.verify import fsck as rebuild

    with open_log(log, token) as source:
        trust = None if policy is None else read_policy(policy)
        with _progress("Hashing entries") as progress:
            result = rebuild(source, verifier_of(source, vkey), trust, progress=progress)
        _conclude(result, source.where, as_json=as_json)


@contextmanager
def _progress(what: str) -> Iterator["Progress | None"]:
    """On the error channel, where that is a terminal; gone when the reading is done."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    with Bar(console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda read, size: bar.update(task, completed=read, total=size)


def examined(verifier: "Verifier") -> None:
    """Examine the home's database; end here unless it is valid."""
    from passerelle.config import settings
    from passerelle.masters import MasterFiles
    from passerelle_consent.ledger.audit.findings import Outcome
    from passerelle_schemas.faults import Fault

    try:
        from passerelle_consent.ledger.database.store import Store
        from passerelle_consent.ledger.database.stored import verify_stored
    except ModuleNotFoundError as missing:
        hint = "install passerelle[consent]"
        raise Fault(f"a database cannot be read here ({missing.name} is not installed)", hint=hint) from None

    here = settings()
    store = Store(here.ledger_store_url(), read_only=True)
    masters = MasterFiles(here.home.keys)
    with store.reading() as db:
        found = verify_stored(db, verifier, masters)
    store.close()
    if found.outcome is Outcome.VALID:
        typer.echo(f"database: valid, {found.size} entries under {found.checkpoints} checkpoints")
        return
    word = "INVALID" if found.outcome is Outcome.INVALID else "could not tell"
    for finding in found.findings:
        typer.echo(f"database: {word}: {finding.file}: {finding.what}", err=True)
    raise typer.Exit(1 if found.outcome is Outcome.INVALID else 2)


def _conclude(result: "Verification", where: str, *, as_json: bool) -> None:
    from passerelle_consent.ledger.audit.findings import Outcome

    if as_json:
        typer.echo(json.dumps(_plain(result), ensure_ascii=False))
    else:
        _tell(result, where)
    raise typer.Exit({Outcome.VALID: 0, Outcome.INVALID: 1, Outcome.UNCLEAR: 2}[result.outcome])


def _tell(result: "Verification", where: str) -> None:
    from passerelle_consent.ledger.audit.findings import Outcome

    if result.outcome is Outcome.VALID:
        assert result.root is not None, "a valid log has an open checkpoint"  # noqa: S101 - an invariant, for mypy
        cosigned = f", cosigned by {', '.join(sorted(result.witnesses))}" if result.witnesses else ""
        typer.echo(f"{where}: valid, {result.size} entries of {result.origin}, root {result.root.hex()}{cosigned}")
        return
    word = "INVALID" if result.outcome is Outcome.INVALID else "could not tell"
    more = f" (and {result.findings_total - 1} more: --json)" if result.findings_total > 1 else ""
    # What contradicts stands before what is merely missing.
    first = min(result.findings, key=lambda finding: finding.outcome is not Outcome.INVALID)
    typer.echo(f"{where}: {word}: {first.file}: {first.what}{more}", err=True)
    hint = first.hint or ("keep a copy of this log before anything else" if word == "INVALID" else None)
    if hint:
        typer.echo(f"  → {hint}", err=True)


def _plain(result: "Verification") -> dict[str, object]:
    return {
        "outcome": result.outcome.value,
        "origin": result.origin,
        "size": result.size,
        "root": result.root.hex() if result.root is not None else None,
        "entries": dict(result.entries),
        "witnesses": dict(result.witnesses),
        "ahead": result.ahead,
        "findings_total": result.findings_total,
        "findings": [{"file": f.file, "what": f.what, "outcome": f.outcome.value} for f in result.findings],
    }


def prove(
    log: Log = None,
    *,
    index: Annotated[int | None, typer.Option(min=0, help="Prove that this entry is in the log.", metavar="N")] = None,
    decision: Annotated[
        str | None, typer.Option(help="The same, by the id of the decision or entry.", metavar="HEX")
    ] = None,
    since: Annotated[
        int | None, typer.Option(min=1, help="Prove that the log of this size is its beginning.", metavar="SIZE")
    ] = None,
    until: Annotated[
        int | None, typer.Option(min=1, help="With --since: up to this size, not up to now.", metavar="SIZE")
    ] = None,
    vkey: Vkey = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Print a proof, checked already: a C2SP tlog-proof of an entry, or consistency between two sizes (JSON)."""
    from passerelle_consent.ledger.audit.prove import find, prove_consistency, prove_inclusion

    if sum(option is not None for option in (index, decision, since)) != 1:
        raise typer.BadParameter("name one of --index, --decision and --since")
    if until is not None and since is None:
        raise typer.BadParameter("--until goes with --since")
    with open_log(log, token) as source:
        verifier = verifier_of(source, vkey)
        if since is not None:
            typer.echo(prove_consistency(source, verifier, since, until).encode())
            return
        if decision is not None:
            index = find(source, verifier, parse_ident(decision, "--decision"))
        assert index is not None, "one of the three is given"  # noqa: S101 - an invariant, for mypy
        proof = prove_inclusion(source, verifier, index)
    typer.echo(json.dumps(_plain_inclusion(proof)) if as_json else proof.encode().decode(), nl=as_json)


def verify_proof(
    file: Annotated[Path, typer.Argument(help="What `ledger prove` printed.")],
    *,
    vkey: Annotated[str, typer.Option("--vkey", help="The log's verifier key, or its file.")],
    kept: Annotated[
        Path | None,
        typer.Option(help="A checkpoint kept from earlier, at which a consistency proof must begin.", metavar="FILE"),
    ] = None,
    policy: PolicyFile = None,
    as_json: AsJson = False,
) -> None:
    """Verify a proof alone, without its log. Exit 0 it holds, 1 it does not, 2 could not tell."""
    from passerelle_consent.ledger.audit.prove import MAGIC, PROOF_BYTES_MAX
    from passerelle_consent.ledger.faults import Invalid, Unclear
    from passerelle_consent.ledger.log.note import NOTE_BYTES_MAX, Note

    verifier = parse_vkey(vkey)
    data = read_bytes(file, PROOF_BYTES_MAX)
    before = None if kept is None else read_bytes(kept, NOTE_BYTES_MAX)
    trust = None if policy is None else read_policy(policy)
    try:
        told = _inclusion(data, verifier) if data.startswith(MAGIC.encode()) else _consistency(data, verifier, before)
        if trust is not None:
            trust.check(Note.parse(str(told[1]["checkpoint"]).encode()))
    except (Invalid, Unclear) as fault:
        raise type(fault)(fault.what, where=str(file), hint=fault.hint) from None
    said, plain = told
    typer.echo(json.dumps(plain, ensure_ascii=False) if as_json else f"{file}: valid, {said}")


def _inclusion(data: bytes, verifier: "Verifier") -> tuple[str, dict[str, object]]:
    from passerelle_consent.ledger.audit.prove import InclusionProof

    proof = InclusionProof.parse(data)
    entry, checkpoint = proof.check(verifier)
    said = f"entry {proof.index} of {checkpoint.origin} at size {checkpoint.size}: {entry.encode().decode()}"
    return said, _plain_inclusion(proof)


def _consistency(data: bytes, verifier: "Verifier", kept: bytes | None) -> tuple[str, dict[str, object]]:
    from passerelle_consent.ledger.log.consistency import ConsistencyProof

    proof = ConsistencyProof.parse(data)
    checkpoint = proof.check(verifier)
    if kept is not None:
        proof.check_since(kept, verifier)
    at = f"size {proof.old} (root {proof.old_root.hex()})"
    return f"{checkpoint.origin} at size {proof.new} begins with {at}", proof.plain()


def _plain_inclusion(proof: "InclusionProof") -> dict[str, object]:
    return {
        "index": proof.index,
        "entry": json.loads(proof.entry),
        "hashes": [h.hex() for h in proof.hashes],
        "checkpoint": proof.note.decode(),
    }


def parse_ident(text: str, option: str) -> bytes:
    """Read the id of a decision or entry. Raises a usage error that names the option."""
    try:
        ident = bytes.fromhex(text)
    except ValueError:
        ident = b""
    if len(ident) != ID_BYTES:
        raise typer.BadParameter(f"an id is {2 * ID_BYTES} hexadecimal digits", param_hint=option)
    return ident
