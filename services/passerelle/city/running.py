"""A whole city on one machine: the broker, what the manifest wants on it, and the components, up and down again."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from passerelle.city.apply import City
from passerelle.city.broker import HEAP_MB, Broker
from passerelle.city.components import Component, Supervisor
from passerelle.city.java import Progress, silent
from passerelle.city.manifest import Manifest
from passerelle.city.node import HOST, free_port
from passerelle.config import Home


@dataclass(frozen=True, kw_only=True)
class RunningCity:
    """What runs, and where."""

    manifest: Manifest
    home: Home
    broker: Broker
    supervisor: Supervisor

    @property
    def consent_url(self) -> str:
        """Where the consent service listens."""
        return self.supervisor.consent_url


@contextmanager
def running(
    manifest: Manifest,
    home: Home,
    *,
    gate_workers: int = 1,
    ledger: bool = True,
    agents: Sequence[str] | None = None,
    consent_port: int | None = None,
    web_port: int | None = None,
    heap_mb: int = HEAP_MB,
    broker_settings: Mapping[str, str] | None = None,
    progress: Progress = silent,
) -> Iterator[RunningCity]:
    """Bring a city up, and down again however the block ends. Raises `Fault`; nothing is then left running.

    ``agents`` are modules; None: all that the manifest names. ``web_port``: of the city's pages; None: without them.
    A broker that was up before, or that somebody else runs, is used and left as it was.
    """
    found = Broker.find(home)
    ours = found is None or not found.alive
    kafka_dir = manifest.path.parent / "kafka"
    broker = Broker.up(home, kafka_dir, heap_mb=heap_mb, extra=broker_settings, progress=progress)
    try:
        progress("applying the manifest: topics, users, rights")
        City(manifest=manifest, home=home, admin=broker.access()).apply()
        port = free_port() if consent_port is None else consent_port
        modules = [app.module for app in manifest.agents] if agents is None else agents
        parts = [*_components(port, gate_workers=gate_workers, ledger=ledger, agents=modules)]
        if web_port is not None:
            parts.append(_pages(port, web_port))
        environ = {"PASSERELLE_MANIFEST": str(manifest.path)}
        with Supervisor(home=home, environ=environ, consent_url=f"http://{HOST}:{port}") as supervisor:
            progress(f"starting {', '.join(part.name for part in parts)}")
            supervisor.start(*parts)
            yield RunningCity(manifest=manifest, home=home, broker=broker, supervisor=supervisor)
            progress("stopping what was started")
    finally:
        if ours:
            broker.down()


def _pages(consent_port: int, port: int) -> Component:
    consent = f"http://{HOST}:{consent_port}"
    return Component(name="web", arguments=("web", "serve", "--port", str(port), "--consent-url", consent))


def gate_names(workers: int) -> list[str]:
    """How the gate's workers are called."""
    return [f"gate-{n}" for n in range(1, workers + 1)]


def _components(port: int, *, gate_workers: int, ledger: bool, agents: Sequence[str]) -> Iterator[Component]:
    """What runs beside the broker, in the order of its start."""
    yield Component(name="consent", arguments=("consent", "serve", "--port", str(port)))
    if ledger:
        yield Component(name="ledger", arguments=("ledger", "integrate"))
        yield Component(name="ledger-index", arguments=("ledger", "index"))
    for name in gate_names(gate_workers):
        yield Component(name=name, arguments=("gate", "run", "--worker", name))
    for module in agents:
        name = "agents" if len(agents) == 1 else f"agents-{module}"
        yield Component(name=name, arguments=("agents", "run", module))
