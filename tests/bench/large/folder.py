"""Where a large town lies, and who lives there. Citizens are numbered; a number gives the rest."""

import hmac
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from postgresql import Server, binaries, serving
from unit.records.fakes import Register

VISITORS = 200
"""Citizens who look, the first of all."""
LONG_HISTORY = 10_000
"""Entries about the first visitor alone."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a town is."""

    citizens: int
    entries: int


@dataclass(frozen=True, kw_only=True)
class Place:
    """A town's folder and the address of its databases."""

    folder: Path
    server: str
    """Folder of PostgreSQL's socket."""

    def database(self, name: str) -> str:
        """The URL of `consent` or `ledger`."""
        return f"postgresql+psycopg://passerelle@/{name}?host={self.server}"

    @property
    def ledger(self) -> Path:
        """The published log."""
        return self.folder / "run" / "ledger"

    @property
    def index(self) -> str:
        """Of the log, as a city without a choice of its own has it: SQLite."""
        return f"sqlite:///{self.folder}/index.sqlite"

    @property
    def made(self) -> Path:
        """Says what size was made; it is written last."""
        return self.folder / "made.json"

    def holds(self, size: Size) -> bool:
        """Whether a town of that size is ready here."""
        return self.made.exists() and json.loads(self.made.read_text()) == asdict(size)


@contextmanager
def kept(folder: Path) -> Iterator[tuple[Place, Server]]:
    """A town's place while its PostgreSQL runs, waiting for the disk as in production."""
    found = binaries()
    if found is None:
        raise SystemExit("this bench needs PostgreSQL: apt-get install postgresql")
    with serving(found, durable=True, kept=folder / "postgresql") as server:
        yield Place(folder=folder, server=str(server.folder)), server


def ref_of(number: int) -> bytes:
    """The subject ref of a citizen."""
    return hmac.digest(b"a large town", number.to_bytes(8), "sha256")[:16]


def pseudonym_of(number: int, department: str) -> bytes:
    """What a department calls a citizen."""
    return Register().pseudonyms(department, [ref_of(number)])[0]


def about(index: int, size: Size, draw: random.Random) -> int:
    """Whom an entry is about: anybody; some hundred of each visitor, and very many of the first."""
    if index % max(1, size.entries // LONG_HISTORY) == 1:
        return 0
    if index % 500 == 7:
        return index // 500 % VISITORS
    return draw.randrange(size.citizens)
