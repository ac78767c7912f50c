"""Set the demonstration up: a home of its own, the broker, what the manifest wants, and the running components."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from passerelle.city.apply import City
from passerelle.city.broker import Broker
from passerelle.city.components import Supervisor
from passerelle.city.desired import Desired
from passerelle.city.manifest import Manifest
from passerelle.city.running import running
from passerelle.config import Home, KafkaAccess, Settings
from passerelle.issuer import LocalIssuer
from passerelle.pseudonyms import Keyring
from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_schemas.faults import Fault
from passerelle_schemas.topics import DECISIONS, EXCHANGE

MARKER = "demonstration"
"""A file in the home that says: this is the demonstration's, it may be wiped."""

DESK = "citizen-desk"
"""The department whose portal citizens speak through, by its pseudonyms of them."""

GATE_WORKERS = 2

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The city, up and running."""

    settings: Settings
    manifest: Manifest
    bundle: PolicyBundle
    keyring: Keyring
    broker: Broker
    supervisor: Supervisor
    consent_url: str
    wanted: Desired

    @property
    def home(self) -> Home:
        """Where keys, stores and logs stand."""
        return self.settings.home

    def access(self, principal: str) -> KafkaAccess:
        """A principal's way into the broker."""
        return self.broker.access(principal)

    def observed_topics(self) -> list[str]:
        """What shows who shared what: outboxes, proposals, decisions, deliveries, dead letters."""
        shown = ("outbox.", "inbox.", "deadletter.", EXCHANGE, DECISIONS)
        return sorted(name for name in self.wanted.topics if name.startswith(shown))

    @property
    def issuer(self) -> LocalIssuer:
        """Who gives citizens and departments their access tokens."""
        return LocalIssuer(self.home, self.manifest)


def wipe(home: Home) -> None:
    """Start anew: remove what an earlier demonstration left. Raises `Fault` for a home that is somebody's own."""
    made = (home.keys, home.kafka, home.store, home.run)
    if any(folder.exists() for folder in made) and not (home.root / MARKER).exists():
        raise Fault(
            "this home is no demonstration's and is left alone",
            where=str(home.root),
            hint="PASSERELLE_HOME=.passerelle-demo make demo",
        )
    left = Broker.find(home)
    if left is not None:
        left.down()
    for folder in made:
        shutil.rmtree(folder, ignore_errors=True)
    home.root.mkdir(parents=True, exist_ok=True)
    (home.root / MARKER).touch()


@dataclass(frozen=True, kw_only=True, slots=True)
class Pages:
    """Where the city's pages are to be, and what `keys/web.json` says of where people sign in."""

    port: int
    clients: Mapping[str, Any]


@contextmanager
def stage(settings: Settings, say: Say, pages: Pages) -> Iterator[Stage]:
    """Bring the city up, and down again however the block ends."""
    wipe(settings.home)
    _name_clients(settings.home, pages)
    manifest = Manifest.load(settings.manifest_path)
    bundle, keyring = manifest.policy_bundle(), manifest.keyring(settings.home)
    with running(manifest, settings.home, gate_workers=GATE_WORKERS, web_port=pages.port, progress=say) as city:
        yield Stage(
            settings=settings,
            manifest=manifest,
            bundle=bundle,
            keyring=keyring,
            broker=city.broker,
            supervisor=city.supervisor,
            consent_url=city.consent_url,
            wanted=City(manifest=manifest, home=settings.home, admin=city.broker.access()).wanted(),
        )


def _name_clients(home: Home, pages: Pages) -> None:
    home.keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = home.web_clients
    file.touch(mode=0o600)
    file.write_text(json.dumps(pages.clients))
