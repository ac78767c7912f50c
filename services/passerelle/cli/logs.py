"""What the auditor's commands are given: a published log, and the key that it is held against."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from passerelle_consent.ledger.audit.published import PublishedLog
    from passerelle_consent.ledger.log.note import Verifier
    from passerelle_consent.ledger.log.trust import Policy

SECRET_BYTES_MAX = 4096
"""Of a file with a key or a token."""

POLICY_BYTES_MAX = 1 << 20

Log = Annotated[
    str | None, typer.Argument(help="The published log: a folder or an http(s) address; otherwise this home's.")
]
Vkey = Annotated[
    str | None, typer.Option("--vkey", help="The log's verifier key, or its file; otherwise <FOLDER>.vkey.")
]
Token = Annotated[
    Path | None,
    typer.Option("--token-file", help="File of a bearer token, for a log that is not public.", metavar="FILE"),
]
PolicyFile = Annotated[
    Path | None,
    typer.Option("--policy", help="C2SP tlog-policy: which witnesses must have cosigned.", metavar="FILE"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def open_log(log: str | None, token: Path | None = None) -> "PublishedLog":
    """Return the log behind an argument. Raises `Unclear`."""
    from passerelle.config import settings
    from passerelle_consent.ledger.audit.folder import LogFolder

    if log is not None and log.startswith(("http://", "https://")):
        from passerelle_consent.ledger.audit.site import LogSite

        return LogSite(log, bearer=None if token is None else read_text(token, hint="name the token's file"))
    return LogFolder(settings().home.ledger if log is None else Path(log).absolute())


def verifier_of(log: "PublishedLog", vkey: str | None) -> "Verifier":
    """Return the log's verifier key. A log from elsewhere does not vouch for itself. Raises `Unclear`."""
    from passerelle_consent.ledger.audit.folder import LogFolder
    from passerelle_consent.ledger.faults import Unclear

    if vkey is None and not isinstance(log, LogFolder):
        hint = "name it, from another source than the log: --vkey KEY"
        raise Unclear("the log's verifier key is not known", where=log.where, hint=hint)
    return parse_vkey(vkey or f"{log.where}.vkey")


def parse_vkey(vkey: str) -> "Verifier":
    """Read a verifier key from its text or from a file. Raises `Unclear`, which names the file."""
    from passerelle_consent.ledger.faults import Invalid, Unclear
    from passerelle_consent.ledger.log.note import Verifier

    is_text = "+" in vkey and not Path(vkey).exists()
    text = vkey if is_text else read_text(Path(vkey), hint="name the file of the log's verifier key: --vkey FILE")
    try:
        return Verifier.parse(text)
    except (Invalid, Unclear) as fault:
        raise Unclear(fault.what, where="--vkey" if is_text else vkey, hint=fault.hint) from None


def read_policy(path: Path) -> "Policy":
    """Read a policy file. Raises `Unclear`, which names it and the line."""
    from passerelle_consent.ledger.faults import Unclear
    from passerelle_consent.ledger.log.trust import Policy

    try:
        return Policy.parse(read_bytes(path, POLICY_BYTES_MAX))
    except Unclear as fault:
        raise Unclear(fault.what, where=fault.where or str(path), hint=fault.hint) from None


def read_text(path: Path, *, hint: str | None = None) -> str:
    """Read a short text file without the newline at its end. Raises `Unclear`, which names it."""
    return read_bytes(path, SECRET_BYTES_MAX, hint=hint, text=True).decode("utf-8").removesuffix("\n")


def read_bytes(path: Path, bytes_max: int, *, hint: str | None = None, text: bool = False) -> bytes:
    """Read a file of at most so many bytes. Raises `Unclear`, which names it."""
    from passerelle_consent.ledger.faults import Unclear

    try:
        with path.open("rb") as file:
            data = file.read(bytes_max + 1)
        if text:
            data.decode("utf-8")
    except OSError as exc:
        raise Unclear(f"cannot be read ({exc.strerror})", where=str(path), hint=hint) from None
    except UnicodeDecodeError:
        raise Unclear("cannot be read (not UTF-8)", where=str(path), hint=hint) from None
    if len(data) > bytes_max:
        raise Unclear(f"is longer than {bytes_max} bytes", where=str(path), hint=hint)
    return data
