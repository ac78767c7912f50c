"""`passerelle ledger witness|cosign`: hold a log to what it said before, and have it held."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from passerelle.cli.logs import Log, PolicyFile, Token, Vkey, open_log, parse_vkey, read_policy, verifier_of

if TYPE_CHECKING:
    from passerelle_consent.ledger.audit.witness import Witness
    from passerelle_consent.ledger.log.note import Verifier

PORT = 8480
SEED_BYTES = 32


def witness(
    *,
    name: Annotated[str, typer.Option(help="Of its key: an address without scheme, as witness.example/w1.")],
    state: Annotated[
        Path, typer.Option(help="Folder for its key and the checkpoints that it keeps.", metavar="FOLDER")
    ],
    log: Annotated[list[str] | None, typer.Option(help="Verifier key of a log, or its file; repeat.")] = None,
    policy: PolicyFile = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = PORT,
) -> None:
    """Serve a witness (C2SP tlog-witness) until SIGTERM or Ctrl-C. Its own verifier key is printed first."""
    import uvicorn

    from passerelle_consent.ledger.audit.witness_http import application
    from passerelle_consent.ledger.faults import Unclear

    known = [*(read_policy(policy).logs if policy else ()), *map(parse_vkey, log or ())]
    if not known:
        raise Unclear("no log is named", where="--log", hint="name each log's verifier key: --log KEY")
    served = _witness(name, state, known)
    typer.echo(served.cosigner.key.encode())
    sys.stdout.flush()
    uvicorn.run(application(served), host=host, port=port, log_level="warning")


def _witness(name: str, state: Path, known: "list[Verifier]") -> "Witness":
    import time

    from passerelle.keys import key_bytes
    from passerelle_consent.ledger.audit.witness import Kept, Witness
    from passerelle_consent.ledger.log.cosignature import Cosigner

    cosigner = Cosigner.of(name, key_bytes(state, "witness", SEED_BYTES))
    return Witness(cosigner=cosigner, logs=known, kept=Kept(state / "kept"), now_s=lambda: int(time.time()))


def cosign(
    log: Log = None,
    *,
    policy: Annotated[Path, typer.Option(help="Policy that names witnesses with their addresses.", metavar="FILE")],
    vkey: Vkey = None,
    token: Token = None,
) -> None:
    """Ask witnesses about a published log, and print its checkpoint with what they cosigned.

    Exit 0 when those who cosigned are the policy's quorum, 1 when a witness knows another history, 2 otherwise.
    """
    from passerelle_consent.ledger.integrator.ask import Refusal, WitnessClient, ask_all
    from passerelle_consent.ledger.log.note import Note

    trust = read_policy(policy)
    clients = [WitnessClient(w) for w in trust.asked()]
    with open_log(log, token) as source:
        checkpoint, data = source.checkpoint(verifier_of(source, vkey))
        note = Note.parse(data)
        answers = list(ask_all(clients, data, checkpoint, source.source(checkpoint.size)))
    for client in clients:
        client.close()
    for asked in answers:
        if asked.fault is not None:
            typer.echo(f"passerelle: {asked.fault}", err=True)
    lines = [asked.line for asked in answers if asked.line is not None]
    fresh = {(line.name, line.key_id) for line in lines}
    kept = [s for s in note.signatures if (s.name, s.key_id) not in fresh]
    cosigned = Note(text=note.text, signatures=(*kept, *lines))
    typer.echo(cosigned.encode().decode(), nl=False)
    for asked in answers:
        if isinstance(asked.fault, Refusal):
            raise typer.Exit(1)
    trust.check(cosigned)
