"""Gate workers as processes that can be killed, stopped, continued and replaced."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

SESSION_MS = 3_000
TRANSACTION_MS = 5_000
"""Short ones, so that many take-overs fit into a test."""
END_S = 15.0
START_S = 30.0


def command(name: str, rule: str | None = None) -> list[str]:
    """How to run the worker ``name``: the project's own command, or a worker that breaks ``rule``."""
    if rule is not None:
        script = Path(__file__).with_name("mutant_worker.py")
        return [sys.executable, str(script), "--rule", rule, "--worker", name]
    timings = ("--session-ms", str(SESSION_MS), "--transaction-timeout-ms", str(TRANSACTION_MS))
    return [sys.executable, "-m", "passerelle.cli", "gate", "run", "--worker", name, *timings]


class Workers:
    """A few workers. A context manager: leaving it ends them all."""

    def __init__(self, environ: Mapping[str, str], logs: Path, *, rule: str | None = None) -> None:
        self._environ = {**os.environ, **environ}
        self._logs = logs
        self._rule = rule
        self._live: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()
        self._born = 0
        logs.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in self.names:
            self.end(name)

    @property
    def names(self) -> list[str]:
        with self._lock:
            return list(self._live)

    def start(self) -> str:
        """Start one more; its name is never used again."""
        with self._lock:
            self._born += 1
            name = f"gate-{self._born}"
            with self._log(name).open("wb") as log:
                self._live[name] = subprocess.Popen(
                    command(name, self._rule), stdout=log, stderr=log, env=self._environ, start_new_session=True
                )
            return name

    def await_ready(self, name: str) -> None:
        """Return when it has taken partitions over. Raises `TimeoutError`."""
        end = time.monotonic() + START_S
        while b'"ready"' not in self._log(name).read_bytes():
            if time.monotonic() > end or self._live[name].poll() is not None:
                raise TimeoutError(f"{name} did not get ready: {self._log(name).read_text()[-2000:]}")
            time.sleep(0.05)

    def kill(self, name: str) -> None:
        """SIGKILL, as a power cut would."""
        with self._lock:
            process = self._live.pop(name)
        process.kill()
        process.wait()

    def pause(self, name: str) -> None:
        self._signal(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        self._signal(name, signal.SIGCONT)

    def end(self, name: str) -> None:
        """Continue it if it was stopped, ask it to end, insist."""
        with self._lock:
            process = self._live.pop(name)
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stopped(self) -> list[str]:
        """Those that stopped, or were stopped."""
        return [name for name, process in self._items() if _state(process.pid) == "T"]

    def ended(self) -> dict[str, int]:
        """Those that ended by themselves, with their exit codes; they are forgotten."""
        found = {name: process.returncode for name, process in self._items() if process.poll() is not None}
        with self._lock:
            for name in found:
                del self._live[name]
        return found

    def _items(self) -> list[tuple[str, "subprocess.Popen[bytes]"]]:
        with self._lock:
            return list(self._live.items())

    def _signal(self, name: str, number: signal.Signals) -> None:
        with self._lock:
            process = self._live.get(name)
        if process is not None and process.poll() is None:
            process.send_signal(number)

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"


def _state(pid: int) -> str:
    """The kernel's letter for a process: T is stopped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return "?"
