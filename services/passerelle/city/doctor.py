"""What a city needs of the machine that it runs on: each point, how it is, and the command that mends it."""

import importlib.metadata
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from passerelle.city import java
from passerelle.city.broker import FREE_BYTES_MIN, Broker
from passerelle.city.broker import State as BrokerState
from passerelle.city.node import HOST, is_free
from passerelle.config import CONSENT_PORT, Home
from passerelle_schemas.faults import Fault

PYTHON_MIN = (3, 11)
FILES_MIN = 1_024
"""Open at once: the broker keeps some hundred segments and connections open for ten departments."""
MEMORY_BYTES_MIN = 3 << 30
"""Broker, gate, agents, ledger, consent service and its index take some 2 GiB together."""
FUTURE_S_MAX = 60.0
"""Files that are newer than now by more than this were written before the clock was set back."""
NTP_SECONDS_MAX = 5.0
DISTRIBUTION = "passerelle"
BUS = ("faust-streaming", "confluent-kafka", "aiokafka", "sqlalchemy", "fastapi")


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """One point. ``well`` False: a city cannot run; None: it can, and somebody should know."""

    what: str
    well: bool | None
    how: str
    hint: str = ""


def examine(home: Home, manifest: Path) -> Iterator[Found]:
    """Look at everything, in the order in which a newcomer would mend it."""
    yield _python()
    yield _packages()
    yield _tool("Java", java.java)
    yield _jars(manifest.parent / "kafka")
    yield _disk(home)
    yield _memory()
    yield _files()
    yield _clock(home)
    yield _manifest(manifest)
    yield _broker(home)
    yield _port(home)


def _python() -> Found:
    version = ".".join(map(str, sys.version_info[:3]))
    wanted = ".".join(map(str, PYTHON_MIN))
    well = sys.version_info >= PYTHON_MIN
    return Found(
        what="Python", well=well, how=f"{version}, {wanted} or later is needed", hint="apt-get install python3"
    )


def _packages() -> Found:
    """Whether the bus's libraries are there, in the versions that this distribution asks for."""
    from packaging.requirements import Requirement

    asked = [Requirement(text) for text in importlib.metadata.requires(DISTRIBUTION) or ()]
    wrong = []
    for name in BUS:
        specifier = next((r.specifier for r in asked if r.name == name), None)
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{name} is missing")
            continue
        if specifier is not None and version not in specifier:
            wrong.append(f"{name} is {version}, not {specifier}")
    how = "; ".join(wrong) or ", ".join(f"{name} {importlib.metadata.version(name)}" for name in BUS[:2])
    return Found(
        what="Packages", well=not wrong, how=how, hint="pip install 'passerelle[bus,consent]'   # or: make setup"
    )


def _tool(what: str, find: Callable[[], str]) -> Found:
    try:
        return Found(what=what, well=True, how=find())
    except Fault as fault:
        return Found(what=what, well=False, how=fault.what, hint=fault.hint or "")


def _jars(kafka_dir: Path) -> Found:
    """The broker's jars, or Maven to fetch them."""
    if not (kafka_dir / "pom.xml").is_file():
        how = f"there is no {kafka_dir / 'pom.xml'}"
        return Found(what="Kafka", well=False, how=how, hint="run it in a city's folder, or set PASSERELLE_MANIFEST")
    if java.fetched(kafka_dir):
        return Found(what="Kafka", well=True, how=f"its jars are in {kafka_dir / 'target'}")
    maven = _tool("Maven", java.maven)
    how = "its jars will be fetched at the first start (45 MB)" if maven.well else maven.how
    return Found(what="Kafka", well=maven.well, how=how, hint=maven.hint)


def _disk(home: Home) -> Found:
    there = next(folder for folder in (home.root, *home.root.parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    how = f"{free >> 20} MiB free in {there}, {FREE_BYTES_MIN >> 20} are needed"
    writable = os.access(there, os.W_OK)
    hint = (
        "export PASSERELLE_HOME=<a folder on a larger disk>" if writable else "export PASSERELLE_HOME=<your own folder>"
    )
    return Found(
        what="Disk",
        well=free >= FREE_BYTES_MIN and writable,
        how=how if writable else f"{there} cannot be written",
        hint=hint,
    )


def _memory() -> Found:
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    how = f"{there >> 20} MiB, {MEMORY_BYTES_MIN >> 20} are wanted"
    return Found(what="Memory", well=there >= MEMORY_BYTES_MIN or None, how=how, hint="passerelle up --heap 384")


def _files() -> Found:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = soft == resource.RLIM_INFINITY or soft >= FILES_MIN
    said = "any number" if soft == resource.RLIM_INFINITY else str(soft)
    return Found(
        what="Files", well=enough, how=f"{said} open at once, {FILES_MIN} are needed", hint=f"ulimit -n {FILES_MIN}"
    )


def _clock(home: Home) -> Found:
    """Tokens, consents and the log's times hang on it; it must not have run ahead of itself before."""
    kept = (home.store, home.ledger / "checkpoint", home.broker_file)
    newest = max((path.stat().st_mtime for path in kept if path.exists()), default=0.0)
    ahead = newest - time.time()
    if ahead > FUTURE_S_MAX:
        how = f"what this city stored is {ahead:.0f} s newer than now: the clock was set back"
        return Found(what="Clock", well=False, how=how, hint="timedatectl set-ntp true")
    synchronized = _synchronized()
    how = {True: "kept by NTP", False: "not kept by NTP", None: "not behind what is stored"}[synchronized]
    return Found(what="Clock", well=None if synchronized is False else True, how=how, hint="timedatectl set-ntp true")


def _synchronized() -> bool | None:
    """What systemd says; None where there is none to ask."""
    program = shutil.which("timedatectl")
    if program is None:
        return None
    try:
        said = subprocess.run(  # noqa: S603 - the program that was just found
            [program, "show", "--property=NTPSynchronized", "--value"],
            capture_output=True,
            text=True,
            timeout=NTP_SECONDS_MAX,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"yes": True, "no": False}.get(said.stdout.strip())


def _manifest(path: Path) -> Found:
    from passerelle.city.manifest import Manifest

    try:
        manifest = Manifest.load(path)
    except Fault as fault:
        return Found(what="City", well=False, how=str(fault).splitlines()[0], hint=fault.hint or "passerelle city lint")
    return Found(what="City", well=True, how=f"{manifest.id}, {len(manifest.departments)} departments ({path})")


def _broker(home: Home) -> Found:
    try:
        status = Broker.status(home)
    except Fault as fault:
        return Found(what="Broker", well=False, how=str(fault), hint=fault.hint or "")
    how = {BrokerState.DOWN: "not started", BrokerState.CRASHED: "it died; the next start recovers it"}.get(
        status.state
    )
    well = None if status.state in (BrokerState.CRASHED, BrokerState.SILENT) else True
    return Found(what="Broker", well=well, how=how or status.state.value, hint="passerelle up")


def _port(home: Home) -> Found:
    from passerelle.city.supervised import Supervised

    running = Supervised.find(home)
    if running is not None and running.supervisor.alive:
        return Found(what="Consent", well=True, how=f"up at {running.consent_url}")
    if is_free(CONSENT_PORT):
        return Found(what="Consent", well=True, how=f"port {CONSENT_PORT} of {HOST} is free for it")
    how = f"port {CONSENT_PORT} of {HOST} is taken: `passerelle up` finds another"
    return Found(what="Consent", well=None, how=how, hint="passerelle status   # shows where it listens")
