"""The running parts of a city on one machine: started, waited for, started again when they give up, and ended.

A component is a process that says ``"event": "ready"`` on a line of its log, ends with 75 when it wants to be started
again (sysexits.h, EX_TEMPFAIL), and finishes what it has in hand on SIGTERM.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog

from passerelle.city import process
from passerelle.city.supervised import Started, Supervised
from passerelle.config import Home
from passerelle_schemas.faults import Fault

READY_SECONDS_MAX = 60.0  # the slowest, the agents, take 4 s; a busy machine may take ten times that
TERM_SECONDS_MAX = 15.0  # longer than any component's last batch
RESTARTS_MAX, RESTARTS_WITHIN_S = 5, 600.0
"""A component that gives up more often within ten minutes is broken, not unlucky. Over a city's life, anybody may."""
WATCH_SECONDS = 0.2
READY_POLL_SECONDS = 0.05
TOLD = "passerelle: "
"""How the command line begins the one line about a fault."""

log = structlog.get_logger()


class ComponentFault(Fault):
    """A component that did not start, or ended for good."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Component:
    """What to run: ``passerelle <arguments>``, its log in ``<name>.log``."""

    name: str
    arguments: tuple[str, ...]


@dataclass(kw_only=True, slots=True)
class Running:
    """A component's process, and where its log begins."""

    component: Component
    log: Path
    process: "subprocess.Popen[bytes]"
    log_start: int
    started: Started
    restarts: tuple[float, ...] = ()
    """When it was started again (monotonic seconds), the last `RESTARTS_MAX` times."""
    ready: bool = False

    def is_ready(self) -> bool:
        """Whether it said so in this life; asked until it did."""
        self.ready = self.ready or any(line.get("event") == "ready" for line in _lines(self.log, self.log_start))
        return self.ready


@dataclass(kw_only=True)
class Supervisor:
    """Owns the processes of a city. A context manager: leaving it ends them, last started first."""

    home: Home
    environ: Mapping[str, str] = field(default_factory=dict)
    consent_url: str = ""
    """Where the consent service among them listens, for commands of the same home."""
    _running: dict[str, Running] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _watcher: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.home.logs.mkdir(parents=True, exist_ok=True)
        self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self, *components: Component) -> None:
        """Start them together and return when each is ready. Raises `ComponentFault`."""
        with self._lock:
            for component in components:
                self._running[component.name] = self._spawn(component)
            self._record(ready=False)
        for component in components:
            self._await_ready(component.name)
        with self._lock:
            self._record(ready=True)

    def pid(self, name: str) -> int:
        """The process of a component, for whoever wants to disturb it."""
        return self._running[name].process.pid

    def check(self) -> None:
        """Raise `ComponentFault` when a component ended for good."""
        for running in list(self._running.values()):
            code = running.process.poll()
            if code is not None and not self._again(running, code):
                said = _last_words(running.log, running.log_start)
                told = f"{running.component.name} ended with {code}{said and f': {said}'}"
                raise ComponentFault(told, where=str(running.log))

    def running(self) -> list[Running]:
        """All of them, in the order of their start."""
        with self._lock:
            return list(self._running.values())

    def lines(self, name: str) -> Iterator[dict[str, Any]]:
        """What a component logged, in all of its lives."""
        return _lines(self._running[name].log, 0)

    def stop(self) -> None:
        """End all: SIGTERM, in the opposite order of their start, then SIGKILL past the bound."""
        self._stopped.set()
        if self._watcher is not None:
            self._watcher.join()
        with self._lock:
            for running in reversed(self._running.values()):
                _end(running.process)
            self.home.supervised_file.unlink(missing_ok=True)

    def _record(self, *, ready: bool) -> None:
        """Keep who runs: whoever kills us leaves processes behind that `passerelle down` must find."""
        pid = os.getpid()
        Supervised(
            supervisor=Started(pid=pid, born=process.birth(pid) or ""),
            ready=ready,
            consent_url=self.consent_url,
            components={name: running.started for name, running in self._running.items()},
        ).write(self.home)

    def _spawn(self, component: Component, before: Running | None = None) -> Running:
        """Start it, for the first time or once more."""
        times, restarts = 0, tuple[float, ...]()
        if before is not None:
            times = before.started.restarts + 1
            restarts = (*before.restarts, time.monotonic())[-RESTARTS_MAX:]
        path = self.home.logs / f"{component.name}.log"
        start = path.stat().st_size if path.exists() else 0
        with path.open("ab") as out:
            child = subprocess.Popen(  # noqa: S603 - our own commands
                [sys.executable, "-m", "passerelle.cli", *component.arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, "PASSERELLE_HOME": str(self.home.root), **self.environ},
                # Ctrl-C is ours: the terminal would send it to every process at once, in no order.
                start_new_session=True,
            )
        started = Started(pid=child.pid, born=process.birth(child.pid) or "", restarts=times)
        return Running(
            component=component, log=path, process=child, log_start=start, started=started, restarts=restarts
        )

    def _await_ready(self, name: str) -> None:
        end = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < end:
            if self._running[name].is_ready():
                return
            self.check()
            time.sleep(READY_POLL_SECONDS)
        raise ComponentFault(
            f"{name} was not ready within {READY_SECONDS_MAX:.0f} s", where=str(self._running[name].log)
        )

    def _watch(self) -> None:
        while not self._stopped.wait(WATCH_SECONDS):
            with self._lock:
                for name, running in self._running.items():
                    code = running.process.poll()
                    if code is not None and self._again(running, code):
                        log.warning("component started again", restarted=name, code=code)
                        self._running[name] = self._spawn(running.component, running)
                        self._record(ready=True)

    @staticmethod
    def _again(running: Running, code: int) -> bool:
        """Whether this end asks for a new start: it gave up for now, or something killed it."""
        since = time.monotonic() - RESTARTS_WITHIN_S
        lately = sum(again > since for again in running.restarts)
        return (code == os.EX_TEMPFAIL or code < 0) and lately < RESTARTS_MAX


def _end(child: "subprocess.Popen[bytes]") -> None:
    if child.poll() is None:
        child.terminate()
    try:
        child.wait(TERM_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _last_words(path: Path, start: int) -> str:
    """The fault that a component ended with, as the command line tells it; "" when it said none."""
    with path.open(encoding="utf-8", errors="replace") as file:
        file.seek(start)
        told = [line.removeprefix(TOLD).strip() for line in file if line.startswith(TOLD)]
    return told[-1] if told else ""


def _lines(path: Path, start: int) -> Iterator[dict[str, Any]]:
    """The JSON lines of a log from a byte on; what libraries print besides is passed over."""
    with path.open("rb") as file:
        file.seek(start)
        for line in file:
            try:
                read = json.loads(line)
            except ValueError:
                continue
            if isinstance(read, dict):
                yield read
