"""A real broker for whoever asks: one for each module, in a home of its own, stopped whatever happens."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest

from faults import founded
from faults.founded import MANIFEST, SHORT_LIVED
from passerelle.city.broker import Broker
from passerelle.city.manifest import Manifest
from passerelle.config import Home, KafkaAccess, Settings
from postgresql import PACKAGE, Server, binaries, serving

LONGEST_FIRST = (
    "test_the_judge_finds_broken_rules",
    "test_agents",
    "test_fence_holds",
    "test_canary",
    "test_nothing_lost",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that nobody waits for it at the end."""
    rank = {name: n for n, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


@dataclass(frozen=True, kw_only=True)
class RunningCity:
    """The demonstration city on a broker of its own, with its topics, users and rights."""

    home: Home
    broker: Broker
    manifest: Manifest

    @property
    def settings(self) -> Settings:
        return Settings(home=self.home, manifest_path=self.manifest.path)

    def access(self, principal: str) -> KafkaAccess:
        """How a principal of the city connects."""
        return self.broker.access(principal)

    def env(self) -> dict[str, str]:
        """What a child process needs to know, on top of this process's environment."""
        return {"PASSERELLE_HOME": str(self.home.root), "PASSERELLE_MANIFEST": str(self.manifest.path)}


def start_broker(home: Home) -> Broker:
    with patch.dict(os.environ, SHORT_LIVED):
        return founded.start_broker(home)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a city that was founded and stopped, to be copied; one for all processes of a run."""
    own = tmp_path_factory.getbasetemp()
    return founded.founded(own.parent if "PYTEST_XDIST_WORKER" in os.environ else own)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker with nothing on it but its administrator."""
    started = start_broker(Home(root=tmp_path_factory.mktemp("home")))
    yield started
    started.down()


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory, made: Path) -> Iterator[RunningCity]:
    """The real deploy/city.yaml, carried out. A test may kill the broker and start it anew: its record is followed."""
    home = Home(root=tmp_path_factory.mktemp("home"))
    founded.copied(made, home)
    running = RunningCity(home=home, broker=start_broker(home), manifest=Manifest.load(MANIFEST))
    try:
        yield running
    finally:
        last = Broker.find(home)
        if last is not None:
            last.down()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A PostgreSQL server for the whole run; each test makes a database of its own on it."""
    found = binaries()
    if found is None:
        pytest.skip(f"PostgreSQL is not installed: apt-get install {PACKAGE}")
    with serving(found) as server:
        yield server
