"""One KRaft node on this machine: its files, its ports, the commands that format and run it."""

import os
import random
import secrets
import shutil
import socket
import string
import subprocess
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from passerelle_schemas.faults import Fault

HOST = "127.0.0.1"  # loopback only: SASL_PLAINTEXT is not encrypted
# Below the range from which Linux and macOS take the ports of outgoing connections, so that a port found free here is
# not lent to a passing client before the broker binds it.
PORTS = range(20_000, 32_000)
PORT_TRIES_MAX = 100
FORMAT_SECONDS_MAX = 120  # 1 s; the bound is for a crowded machine
PASSWORD_CHARACTERS = frozenset(string.ascii_letters + string.digits + "-_.~")


@dataclass(frozen=True, kw_only=True)
class Passwords:
    """What the node itself must know; everybody else's SCRAM users are made by `passerelle city apply`."""

    admin: str
    broker: str
    controller: str

    def __post_init__(self) -> None:
        for name in ("admin", "broker", "controller"):
            # They pass through JAAS and properties syntax, whose quotings nest; random ones never need it.
            if not set(getattr(self, name)) <= PASSWORD_CHARACTERS:
                raise Fault(f"the password of {name} may hold letters, digits and - _ . ~ only")


@dataclass(frozen=True, kw_only=True)
class Node:
    """Where a node keeps its files and which ports it listens on."""

    folder: Path
    """home.kafka"""
    kafka_dir: Path
    """deploy/kafka: the template of the properties and the log configuration"""
    java: str
    libs: Path
    client_port: int
    controller_port: int

    @property
    def data(self) -> Path:
        """The log directories; present if and only if formatting was completed."""
        return self.folder / "data"

    @property
    def properties(self) -> Path:
        """The rendered server.properties, mode 0600."""
        return self.folder / "server.properties"

    @property
    def log(self) -> Path:
        """What the broker logs, rolled by log4j2."""
        return self.folder / "broker.log"

    @property
    def output(self) -> Path:
        """What the JVM itself prints: nothing, unless it dies."""
        return self.folder / "broker.out"

    def configure(self, passwords: Passwords, extra: Mapping[str, str], *, data: Path | None = None) -> None:
        """Render server.properties. Of two lines with the same key the last one counts, so ``extra`` wins."""
        template = string.Template((self.kafka_dir / "server.properties").read_text(encoding="utf-8"))
        text = template.substitute(
            client_port=self.client_port,
            controller_port=self.controller_port,
            data=data or self.data,
            broker_password=passwords.broker,
            controller_password=passwords.controller,
        )
        text += "".join(f"{key}={value}\n" for key, value in extra.items())
        write_private(self.properties, text)

    def format(self, passwords: Passwords) -> None:
        """Write the first metadata, with the two SCRAM users that must exist before anyone can make others.

        Formats beside and renames, so that a folder ``data`` is always a whole one. Raises `Fault`.
        """
        fresh = self.folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        self.configure(passwords, {}, data=fresh)
        users = {"admin": passwords.admin, "broker": passwords.broker}
        scram = [f"--add-scram SCRAM-SHA-512=[name={name},password={word}]" for name, word in users.items()]
        arguments = [
            "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",  # it lives for a second
            *self._jvm("storage.log"),
            "kafka.tools.StorageTool format",
            f'-t {cluster_id()} -c "{self.properties}"',
            *scram,
        ]
        # The launcher reads its arguments from a file, as everyone on the machine may read a command line.
        listed = self.folder / "format.args"
        write_private(listed, "\n".join(arguments))
        try:
            done = subprocess.run(  # noqa: S603
                [self.java, f"@{listed}"], capture_output=True, text=True, timeout=FORMAT_SECONDS_MAX, check=False
            )
        finally:
            listed.unlink()
        # Its standard output lists the users' SCRAM keys: never shown, never kept.
        if done.returncode or not (fresh / "meta.properties").is_file():
            reason = next((line for line in done.stderr.splitlines() if line.strip()), f"exit {done.returncode}")
            raise Fault(f"the broker's storage could not be formatted: {reason[:300]}", where=str(fresh))
        fresh.rename(self.data)

    def command(self, heap_mb: int) -> list[str]:
        """Return the command line that runs the node. It holds no password."""
        heap = [f"-Xms{heap_mb // 2}m", f"-Xmx{heap_mb}m", "-XX:+UseG1GC", "-XX:+ExitOnOutOfMemoryError"]
        jvm = [word.replace('"', "") for word in self._jvm(self.log.name)]
        return [self.java, *heap, *jvm, "kafka.Kafka", str(self.properties)]

    def _jvm(self, log: str) -> list[str]:
        return [
            "-Djava.awt.headless=true",
            f'"-Dpasserelle.log={self.folder / log}"',
            f'"-Dlog4j2.configurationFile={self.kafka_dir / "log4j2.xml"}"',
            "-cp",
            f'"{self.libs / "*"}"',
        ]

    def cluster_id(self) -> str:
        """Return the id under which ``data`` was formatted."""
        lines = (self.data / "meta.properties").read_text(encoding="utf-8").splitlines()
        return next(line.partition("=")[2] for line in lines if line.startswith("cluster.id="))


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, from its first byte on, and that nobody sees half-written."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
    draft.replace(path)


def cluster_id() -> str:
    """Return a new cluster id: 16 bytes in URL-safe base 64, never beginning with a dash (which is an option's)."""
    return "P" + urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")[1:]


def is_free(port: int) -> bool:
    """Whether the broker could listen on a port now. Left-overs of closed connections do not count, as for Java."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port(*, but: int | None = None) -> int:
    """Find a free port. Raises `Fault` after `PORT_TRIES_MAX` taken ones."""
    for _ in range(PORT_TRIES_MAX):
        port = random.choice(PORTS)  # noqa: S311 - no secret
        if port != but and is_free(port):
            return port
    raise Fault(f"no free port found between {PORTS.start} and {PORTS.stop}")
