"""The city's own broker: up, down, status. Or the record of a cluster that exists already.

>>> broker = Broker.up(home, Path("deploy/kafka"))
>>> broker.down()

What runs is written to ``home.kafka/broker.json`` before it is waited for, so that whatever happens to the command,
`down` finds what `up` started, and nothing else: the pid counts only together with its start time.
"""

import fcntl
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from passerelle.city import cluster, java, process
from passerelle.city.java import Progress, silent
from passerelle.city.node import HOST, Node, Passwords, free_port, is_free, write_private
from passerelle.config import Home, KafkaAccess
from passerelle.keys import secret
from passerelle_schemas.faults import Fault

HEAP_MB = 768  # a city of ten departments; measured to hold 5,000 records/s
FREE_BYTES_MIN = 1 << 30  # a broker on a full disk dies in the middle of a segment: better not to start
START_SECONDS_MAX = 120.0  # 4 s on a laptop; recovery after a crash, or a crowded machine, takes many times that
STOP_SECONDS_MAX = 20.0  # a clean stop takes 2 s; a clean one saves the recovery
TEST_SETTINGS: Mapping[str, str] = {
    # Transactions of killed workers are ended within half a second of their time-out, not ten.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
}


class State(StrEnum):
    """What `status` can say."""

    UP = "up"
    SILENT = "silent"
    CRASHED = "crashed"
    DOWN = "down"
    EXTERNAL = "external"


@dataclass(frozen=True, kw_only=True)
class Broker:
    """A broker that was started here, or (``pid`` None) a cluster that somebody else runs."""

    home: Home
    bootstrap_servers: str
    cluster_id: str
    pid: int | None = None
    born: str | None = None
    """When the process started, in the system's words: a recycled pid is never taken for it."""

    @classmethod
    def up(
        cls,
        home: Home,
        kafka_dir: Path,
        *,
        port: int | None = None,
        heap_mb: int = HEAP_MB,
        extra: Mapping[str, str] | None = None,
        free_bytes_min: int = FREE_BYTES_MIN,
        progress: Progress = silent,
    ) -> Self:
        """Start the broker, or find it running; return when it answers. Idempotent.

        Data of an earlier run is used again, as are its ports when they are free. On a `Fault` nothing is left running.
        """
        home.kafka.mkdir(parents=True, exist_ok=True)
        with _locked(home.kafka):
            running = cls.find(home)
            if running is not None and running.alive:
                running.wait(progress)
                return running
            program, libs = java.java(), java.jars(kafka_dir.resolve(), progress)
            node = _node(home.kafka.resolve(), kafka_dir.resolve(), program, libs, port)
            _prepare(home, node, extra or {}, free_bytes_min, progress)
            return cls._launch(home, node, heap_mb, progress)

    @classmethod
    def _launch(cls, home: Home, node: Node, heap_mb: int, progress: Progress) -> Self:
        progress("starting the broker")
        pid, born = process.start(node.command(heap_mb), cwd=node.folder, output=node.output, environ=dict(os.environ))
        servers = f"{HOST}:{node.client_port}"
        broker = cls(home=home, bootstrap_servers=servers, cluster_id=node.cluster_id(), pid=pid, born=born)
        try:
            broker.record()
            broker.wait(progress)
        except BaseException:  # Ctrl-C as well: nothing half-started stays behind
            broker.down()
            raise
        return broker

    @classmethod
    def attach(cls, home: Home, bootstrap_servers: str) -> Self:
        """Use a cluster that exists; its administrator's password stands in ``keys/principals/admin.secret``.

        Raises `Fault` when no password is there, nobody answers, or the password is refused.
        """
        password = home.keys / "principals" / "admin.secret"
        if not password.is_file():
            raise Fault(
                "the existing cluster's administrator password is missing",
                where=str(password),
                hint=f"install -m 600 /dev/stdin {password}   # then paste the password of user admin",
            )
        home.kafka.mkdir(parents=True, exist_ok=True)
        with _locked(home.kafka):
            running = cls.find(home)
            if running is not None and running.pid is not None and running.alive:
                raise Fault("a broker started here is running", hint="passerelle kafka down")
            found = cls(home=home, bootstrap_servers=bootstrap_servers, cluster_id="")
            admin = cluster.connect(found.access())
            name = str(admin.list_topics(timeout=cluster.ANSWER_SECONDS_MAX).cluster_id)
            return cls(home=home, bootstrap_servers=bootstrap_servers, cluster_id=name).record()

    @classmethod
    def find(cls, home: Home) -> Self | None:
        """Return what ``broker.json`` names, running or not; None when there is none."""
        try:
            record = json.loads(home.broker_file.read_text(encoding="utf-8"))
            return cls(home=home, **record)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            raise Fault("is not a record of a broker", where=str(home.broker_file), hint="remove that file") from None

    @staticmethod
    def status(home: Home) -> "Status":
        """Say what is there; asks the broker itself, within a few seconds."""
        broker = Broker.find(home)
        if broker is None:
            return Status(state=State.DOWN, broker=None)
        if not broker.alive:
            return Status(state=State.CRASHED, broker=broker)
        try:
            cluster.connect(broker.access(), seconds_max=3)
        except cluster.Unreachable:
            return Status(state=State.SILENT if broker.pid else State.DOWN, broker=broker)
        return Status(state=State.UP if broker.pid else State.EXTERNAL, broker=broker)

    @property
    def alive(self) -> bool:
        """Whether the process lives; always true of a cluster that somebody else runs."""
        return self.pid is None or process.alive(self.pid, self.born or "")

    def access(self, principal: str = "admin") -> KafkaAccess:
        """How a principal of the city connects to this broker."""
        password = secret(self.home.keys, f"principals/{principal}")
        return KafkaAccess(bootstrap_servers=self.bootstrap_servers, username=principal, password=password)

    def wait(self, progress: Progress = silent) -> None:
        """Return when the broker gave an authenticated answer. Raises `Fault` when it dies or stays silent."""
        progress("waiting for the broker's first answer")
        if self.pid is not None:
            self._listens()
        cluster.connect(self.access(), seconds_max=START_SECONDS_MAX)

    def _listens(self) -> None:
        """Wait for the port. Raises `Fault` with the broker's own complaint when it dies instead."""
        host, _, port = self.bootstrap_servers.rpartition(":")
        end = time.monotonic() + START_SECONDS_MAX
        while True:
            if not self.alive:
                raise Fault(
                    f"the broker died while starting: {_complaint(self.home.kafka)}", where=str(_log(self.home))
                )
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
            except OSError:
                if time.monotonic() > end:
                    raise Fault(
                        f"the broker did not listen within {START_SECONDS_MAX:.0f} s", where=str(_log(self.home))
                    ) from None
                time.sleep(process.POLL_SECONDS)
            else:
                return

    def down(self) -> None:
        """Stop what was started here (SIGTERM, then SIGKILL) and forget it; a cluster of others is only forgotten."""
        if self.pid is not None:
            process.stop(self.pid, self.born or "", term_seconds=STOP_SECONDS_MAX)
        self.home.broker_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """End the broker with SIGKILL, for fault tests; `up` brings it back on its data and ports."""
        if self.pid is not None and process.send(self.pid, self.born or "", signal.SIGKILL):
            process.gone(self.pid, self.born or "", STOP_SECONDS_MAX)

    def record(self) -> Self:
        """Write ``broker.json``, by which every other command finds this broker."""
        fields = {key: value for key, value in self.__dict__.items() if key != "home"}
        write_private(self.home.broker_file, json.dumps(fields, indent=1))
        return self


@dataclass(frozen=True, kw_only=True)
class Status:
    """What `status` found."""

    state: State
    broker: Broker | None

    @property
    def answers(self) -> bool:
        """Whether the broker can be used now."""
        return self.state in (State.UP, State.EXTERNAL)

    def document(self) -> dict[str, object]:
        """As plain JSON values."""
        if self.broker is None:
            return {"state": self.state.value}
        fields = asdict(self.broker)
        return {
            "state": self.state.value,
            **{name: fields[name] for name in ("bootstrap_servers", "pid", "cluster_id")},
        }


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep two commands from starting or stopping the same broker at once."""
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Fault(
                "another command is starting or stopping this broker", where=str(folder), hint="passerelle kafka status"
            ) from None
        yield


def _node(folder: Path, kafka_dir: Path, program: str, libs: Path, port: int | None) -> Node:
    """Choose the ports: the one asked for, else those of the last run, else any."""
    if port is not None and not is_free(port):
        raise Fault(
            f"port {port} of {HOST} is taken", hint="passerelle kafka up   # without --port it finds a free one"
        )
    last = folder / "ports.json"
    before: dict[str, int] = json.loads(last.read_text()) if last.is_file() else {}
    client = port or _again(before.get("client"), but=None)
    controller = _again(before.get("controller"), but=client)
    return Node(
        folder=folder, kafka_dir=kafka_dir, java=program, libs=libs, client_port=client, controller_port=controller
    )


def _prepare(home: Home, node: Node, extra: Mapping[str, str], free_bytes_min: int, progress: Progress) -> None:
    """Bring the node's folder to where it can be started; data that is there is kept."""
    _check_disk(node.folder, free_bytes_min)
    names = ("admin", "broker", "controller")
    passwords = Passwords(**{name: secret(home.keys, f"principals/{name}") for name in names})
    if not node.data.is_dir():
        progress("formatting the broker's storage")
        node.format(passwords)
    node.configure(passwords, extra)
    node.output.unlink(missing_ok=True)
    ports = {"client": node.client_port, "controller": node.controller_port}
    (node.folder / "ports.json").write_text(json.dumps(ports))


def _again(port: int | None, *, but: int | None) -> int:
    return port if port is not None and port != but and is_free(port) else free_port(but=but)


def _check_disk(folder: Path, free_bytes_min: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < free_bytes_min:
        raise Fault(
            f"the disk has {free >> 20} MiB left; the broker wants {free_bytes_min >> 20} MiB",
            where=str(folder),
            hint="export PASSERELLE_HOME=<a folder on a larger disk>",
        )


def _log(home: Home) -> Path:
    return home.kafka / "broker.log"


def _complaint(folder: Path) -> str:
    """What the JVM or the broker complained of in its last run: one line, never a stack."""
    for path, marks in (
        (folder / "broker.out", ("Error", "Exception", "Could not")),
        (folder / "broker.log", (" ERROR ",)),
    ):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
        found = [i for i, line in enumerate(lines) if any(mark in line for mark in marks)]
        if found:
            # log4j2 puts the exception's own line beneath, which says what; the line itself only says that.
            said = lines[found[-1] : found[-1] + 2]
            return next((line for line in said[1:] if "Exception: " in line), said[0])[:300]
    return "it left no reason"
