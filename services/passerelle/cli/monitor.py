"""`passerelle ledger monitor`: follow a log and sound the alarm."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from passerelle.cli.logs import Log, PolicyFile, Token, Vkey, open_log, read_bytes, read_policy, verifier_of
from passerelle.cli.queries import stopped_by_signal
from passerelle.cli.scan import parse_key

if TYPE_CHECKING:
    from threading import Event

    from passerelle_consent.ledger.audit.monitor import Monitor, Pass, State
    from passerelle_consent.ledger.audit.watch import Alarm

EVERY_S = 5.0
LATE_AFTER_S = 60
"""The ledger says that it is alive every few seconds, and its witnesses every minute at least."""
STATE_BYTES_MAX = 1 << 28


def monitor(
    log: Log = None,
    *,
    vkey: Vkey = None,
    subject_key: Annotated[
        list[str] | None, typer.Option(help="Somebody's k_subject, or its file: their fences are watched. Repeat.")
    ] = None,
    policy: PolicyFile = None,
    state: Annotated[
        Path | None, typer.Option(help="File in which to keep what was verified, for the next time.", metavar="FILE")
    ] = None,
    late_after: Annotated[
        int, typer.Option(min=1, help="Seconds after which a checkpoint that is not renewed is late.")
    ] = LATE_AFTER_S,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = EVERY_S,
    once: Annotated[
        bool, typer.Option("--once", help="Look once. Exit 0 all clear, 1 alarm, 2 could not tell.")
    ] = False,
    token: Token = None,
) -> None:
    """Follow a log; print each alarm once, as a line of JSON, until SIGTERM or Ctrl-C."""
    from passerelle_consent.ledger.audit.monitor import Monitor

    keys = [parse_key(key, "--subject-key") for key in subject_key or ()]
    with open_log(log, token) as source:
        following = Monitor(
            log=source,
            verifier=verifier_of(source, vkey),
            keys=keys,
            state=_kept(state, keys),
            policy=None if policy is None else read_policy(policy),
            late_after_s=late_after,
        )
        if once:
            raise typer.Exit(_look(following, state, set()).exit_code)
        _follow(following, state, every, stopped_by_signal())


def _follow(following: "Monitor", state: Path | None, every: float, stop: "Event") -> None:
    told: set[Alarm] = set()
    while not stop.is_set():
        found = _look(following, state, told)
        # An alarm that is over is sounded anew when it comes back; its age, which changes, is part of a late one.
        told = {alarm for alarm in told | set(found.alarms) if alarm in found.alarms or alarm.index is not None}
        stop.wait(every)


def _look(following: "Monitor", state: Path | None, told: "set[Alarm]") -> "Pass":
    import time

    now_s = time.time()
    found = following.look(now_s)
    late = {alarm.kind for alarm in told if alarm.index is None}
    for alarm in found.alarms:
        if alarm not in told and not (alarm.index is None and alarm.kind in late):
            at = datetime.fromtimestamp(now_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            line = {"at": at, "alarm": alarm.kind.value, "index": alarm.index, "what": alarm.what}
            typer.echo(json.dumps(line, ensure_ascii=False))
    if state is not None:
        _keep(state, following.state)
    return found


def _kept(path: Path | None, keys: list[bytes]) -> "State | None":
    from passerelle_consent.ledger.audit.monitor import State
    from passerelle_consent.ledger.faults import Unclear

    if path is None or not path.exists():
        return None
    try:
        return State.parse(read_bytes(path, STATE_BYTES_MAX, text=True).decode(), keys)
    except Unclear as fault:
        raise Unclear(fault.what, where=str(path), hint=fault.hint) from None


def _keep(path: Path, state: "State") -> None:
    from passerelle_schemas.faults import Fault

    draft = path.with_name(f".{path.name}.draft")
    try:
        draft.write_text(state.encode(), "utf-8")
        draft.replace(path)
    except OSError as exc:
        raise Fault(f"cannot be written ({exc.strerror})", where=str(path)) from None
