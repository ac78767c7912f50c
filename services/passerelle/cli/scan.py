"""`passerelle ledger scan|subject-key`: what the log holds about one person, and what followed each fence."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from passerelle.cli.logs import AsJson, Log, Token, Vkey, open_log, read_text, verifier_of
from passerelle.cli.options import ConsentUrl

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx

    from passerelle_consent.ledger.audit.scan import Fence, Placed, Scan

KEY_BYTES = 32
TIMEOUT_S = 10.0


def scan(
    log: Log = None,
    *,
    subject_key: Annotated[str, typer.Option(help="k_subject, as 64 hexadecimal digits, or its file.")],
    agreement: Annotated[
        str | None, typer.Option(help="Judge fences of this agreement only: id, or id@version.", metavar="ID")
    ] = None,
    since_fence: Annotated[
        str | None,
        typer.Option(help="Judge this fence only: its index or id, or the id of the withdrawal.", metavar="FENCE"),
    ] = None,
    vkey: Vkey = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List every decision about one person; does a permit follow a fence? Exit 0 no, 1 yes, 2 could not tell."""
    from passerelle_consent.ledger.audit.scan import Answer
    from passerelle_consent.ledger.audit.scan import scan as read

    key = parse_key(subject_key, "--subject-key")
    with open_log(log, token) as source:
        found = read(source, verifier_of(source, vkey), key)
        judged = _wanted(found, agreement, since_fence, source.where)
    if as_json:
        typer.echo(json.dumps(_plain(found, judged), ensure_ascii=False))
    else:
        _tell(found, judged)
    answers = {f.answer for f in judged}
    raise typer.Exit(1 if Answer.BROKEN in answers else 2 if Answer.UNCLEAR in answers else 0)


def _wanted(found: "Scan", agreement: str | None, since_fence: str | None, where: str) -> "list[Fence]":
    """Return the fences that are asked about. Raises `Unclear` when the one named is not among the person's."""
    from passerelle_consent.ledger.audit.scan import ALL, name_of
    from passerelle_consent.ledger.faults import Unclear

    named = found.fences
    if since_fence is not None:
        named = tuple(f for f in named if since_fence.lower() in _names(f.at))
        if not named:
            what = f"the log has no fence {since_fence} about the holder of this key"
            raise Unclear(what, where=where, hint="without --since-fence, all of theirs are judged")
    return [
        f for f in named if agreement is None or f.agreement == ALL or agreement in (f.agreement, name_of(f.agreement))
    ]


def _names(fence: "Placed") -> set[str]:
    entry = fence.entry
    return {str(fence.index), entry.ident.hex(), *([] if entry.regarding is None else [entry.regarding.hex()])}


def _tell(found: "Scan", judged: "Sequence[Fence]") -> None:
    for placed in found.decisions:
        entry = placed.entry.plain()
        under = ",".join(entry.get("agreements", ())) or "-"
        to = entry.get("recipient", "-")
        typer.echo(
            f"{placed.index:>10}  {entry['time']}  {entry['verdict']:<6}  {entry['reason']:<22}  {to:<20}  {under}"
        )
    said = f"{len(found.decisions)} decisions about the holder of this key, of {found.checkpoint.size} entries"
    typer.echo(f"{said}, root {found.checkpoint.root.hex()}")
    for fence in judged:
        typer.echo(_sentence(fence), err=fence.permit is not None)


def _sentence(fence: "Fence") -> str:
    at = f"fence {fence.at.index} ({fence.agreement})"
    redacted = f", {fence.redacted} redacted" if fence.redacted else ""
    if fence.permit is None:
        until = "" if fence.reopened is None else f" until entry {fence.reopened} gave a new standing"
        return f"{at}: no permit follows{until}{redacted}"
    permit = f"permit {fence.permit.index} ({fence.permit.entry.ident.hex()}) follows"
    return f"{at}: {permit}: {fence.why}" if fence.why else f"{at}: BROKEN: {permit}"


def _plain(found: "Scan", judged: "Sequence[Fence]") -> dict[str, object]:
    return {
        "origin": found.checkpoint.origin,
        "size": found.checkpoint.size,
        "root": found.checkpoint.root.hex(),
        "entries": [{"index": p.index, "entry": p.entry.plain()} for p in found.entries],
        "fences": [
            {
                "index": f.at.index,
                "agreement": f.agreement,
                "answer": f.answer.value,
                "permit": None if f.permit is None else f.permit.index,
                "why": f.why,
                "reopened": f.reopened,
                "redacted": f.redacted,
            }
            for f in judged
        ],
    }


def parse_key(key: str, option: str) -> bytes:
    """Read k_subject from its digits or from a file. Raises a usage error, or `Unclear`, that does not quote it."""
    is_text = len(key) == 2 * KEY_BYTES and not Path(key).exists()
    text = key if is_text else read_text(Path(key), hint="a file of 64 hexadecimal digits").strip()
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    if len(secret) != KEY_BYTES:
        raise typer.BadParameter(f"a subject's key is {2 * KEY_BYTES} hexadecimal digits", param_hint=option)
    return secret


def subject_key(
    *,
    pseudonym: Annotated[str, typer.Option(help="Whose: an auditor's department's pseudonym; me, for oneself.")] = "me",
    token: Annotated[Path, typer.Option("--token-file", help="File of one's access token.", metavar="FILE")],
    mandate: Annotated[
        str | None, typer.Option(help="An auditor's: the reference of the mandate. It is logged.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where to write the key.", metavar="FILE")] = Path("subject.key"),
    consent_url: ConsentUrl,
) -> None:
    """Fetch a subject's key from the consent service, for `scan`. An auditor's reading is an entry of the log."""
    import httpx

    from passerelle_schemas.faults import Fault

    headers = {"Authorization": f"Bearer {read_text(token)}", **({} if mandate is None else {"Mandate": mandate})}
    path = f"{consent_url}/v1/subjects/{pseudonym}/ledger-key"
    try:
        answer = httpx.get(path, headers=headers, timeout=TIMEOUT_S)
    except (httpx.TransportError, httpx.InvalidURL) as exc:
        raise Fault(f"does not answer ({type(exc).__name__})", where=consent_url) from None
    if answer.status_code != httpx.codes.OK:
        raise Fault(f"said no ({_title(answer)})", where=consent_url)
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as exc:
        raise Fault(f"cannot be written ({exc.strerror})", where=str(out), hint="another name: --out FILE") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(answer.text)
    typer.echo(f"{out}: whoever has this file finds what the log holds about this person")


def _title(answer: "httpx.Response") -> str:
    try:
        return str(answer.json()["title"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}"
