"""Processes that outlive the command that started them, told apart from others that got the same number."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

POLL_SECONDS = 0.02
PS_SECONDS_MAX = 10

# Children of this very process: they must be reaped here, or they would stay behind as zombies.
_children: dict[int, "subprocess.Popen[bytes]"] = {}


def start(command: Sequence[str], *, cwd: Path, output: Path, environ: dict[str, str]) -> tuple[int, str]:
    """Start a command in a session of its own, its output appended to a file.

    Returns its pid and its birth: `birth` tells later whether the pid still means the same process.
    """
    with output.open("ab") as out:
        child = subprocess.Popen(  # noqa: S603 - callers pass programs that they looked up
            command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, env=environ
        )
    _children[child.pid] = child
    return child.pid, birth(child.pid) or ""


def birth(pid: int) -> str | None:
    """Return when a process started, in the words of this system; None when no such process lives."""
    if pid in _children and _children[pid].poll() is not None:
        del _children[pid]
        return None
    if not Path("/proc/self/stat").exists():
        return _birth_by_ps(pid)
    try:
        # proc(5): the name is in parentheses and may hold spaces; state is field 3, the start time field 22.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    if fields[0] not in "ZX":
        return fields[19]
    if pid in _children:  # it ended since poll() asked
        _children.pop(pid).wait()
    return None


def _birth_by_ps(pid: int) -> str | None:
    said = subprocess.run(  # noqa: S603
        ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        timeout=PS_SECONDS_MAX,
        check=False,
    )
    state, _, started = said.stdout.strip().partition(" ")
    return started.strip() if state and not state.startswith("Z") else None


def alive(pid: int, born: str) -> bool:
    """Whether the process that got this pid at ``born`` still lives."""
    return birth(pid) == born


def stop(pid: int, born: str, *, term_seconds: float) -> None:
    """End a process that was started here: SIGTERM, and SIGKILL when that took longer than ``term_seconds``.

    A pid that meanwhile belongs to another process is left alone.
    """
    if send(pid, born, signal.SIGTERM) and not gone(pid, born, term_seconds):
        send(pid, born, signal.SIGKILL)
        gone(pid, born, term_seconds)


def send(pid: int, born: str, number: signal.Signals) -> bool:
    """Send a signal if it is still the same process. Returns whether it was."""
    if not alive(pid, born):
        return False
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def gone(pid: int, born: str, seconds: float) -> bool:
    """Wait until a process has ended, ``seconds`` at most. Returns whether it has."""
    end = time.monotonic() + seconds
    while alive(pid, born):
        if time.monotonic() > end:
            return False
        time.sleep(POLL_SECONDS)
    return True
