"""Where things are and who one is on the broker. The only module that reads the environment."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from passerelle.keys import secret
from passerelle_schemas.faults import Fault

CONSENT_PORT = 8470
"""Where `passerelle consent serve` listens unless told otherwise."""

WEB_PORT = 8472
"""Where `passerelle web serve` listens unless told otherwise."""

CONSENT_URL = f"http://127.0.0.1:{CONSENT_PORT}"


class ConfigFault(Fault):
    """The environment does not say what a command needs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Home:
    """The folder that holds a city's keys, stores and runs: `.passerelle/` unless PASSERELLE_HOME says otherwise."""

    root: Path

    @property
    def keys(self) -> Path:
        """Key files, mode 0600, in a folder of mode 0700."""
        return self.root / "keys"

    @property
    def kafka(self) -> Path:
        """The embedded broker: data, logs and `broker.json`."""
        return self.root / "kafka"

    @property
    def store(self) -> Path:
        """Databases and checkpoints of state."""
        return self.root / "store"

    @property
    def run(self) -> Path:
        """What a run leaves for others to read."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """One file of JSON lines for each component."""
        return self.run / "logs"

    @property
    def supervised_file(self) -> Path:
        """Which components run, and where the consent service listens."""
        return self.run / "supervised.json"

    @property
    def ledger(self) -> Path:
        """The published log: a `tlog-tiles` folder."""
        return self.run / "ledger"

    @property
    def monitor_state(self) -> Path:
        """What `passerelle ledger monitor --state` keeps, where the pages look for it."""
        return self.run / "monitor.state"

    @property
    def monitor_alarms(self) -> Path:
        """What `passerelle ledger monitor` prints, where the pages look for it."""
        return self.run / "monitor.jsonl"

    @property
    def receipt_keys(self) -> Path:
        """The public keys of all receipts ever signed here: a JWK set."""
        return self.run / "receipts.jwks"

    @property
    def witnesses(self) -> Path:
        """A C2SP tlog-policy: whom the ledger asks to cosign its checkpoints. A home may have none."""
        return self.root / "witnesses.policy"

    @property
    def ledger_index_url(self) -> str:
        """The index of the published log, a file of this home. It can be removed: it is made anew."""
        return f"sqlite:///{self.store / 'ledger-index.sqlite'}"

    @property
    def web_clients(self) -> Path:
        """Who the pages are at the providers where people sign in. Without it nobody can."""
        return self.keys / "web.json"

    @property
    def broker_file(self) -> Path:
        """Which broker this home uses."""
        return self.kafka / "broker.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class KafkaAccess:
    """One principal's way into the broker (SCRAM-SHA-512)."""

    bootstrap_servers: str
    username: str
    password: str

    def __repr__(self) -> str:
        """Without the password."""
        return f"KafkaAccess({self.username}@{self.bootstrap_servers})"

    def confluent(self) -> dict[str, Any]:
        """Settings for confluent-kafka."""
        return {
            "bootstrap.servers": self.bootstrap_servers,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": self.username,
            "sasl.password": self.password,
        }

    def aiokafka(self) -> dict[str, Any]:
        """Settings for aiokafka."""
        return {
            "bootstrap_servers": self.bootstrap_servers,
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": self.username,
            "sasl_plain_password": self.password,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What the environment says."""

    home: Home
    manifest_path: Path
    bootstrap: str | None = None
    client: Path | None = None
    consent_store: str | None = field(default=None, repr=False)  # it may hold a password
    ledger_index: str | None = field(default=None, repr=False)  # the same
    ledger_store: str | None = field(default=None, repr=False)  # the same
    registry: str | None = field(default=None, repr=False)  # the same
    """PASSERELLE_REGISTRY: the external schema registry of a city that has one; it must agree with the lock."""
    consent_address: str | None = None

    def consent_url(self) -> str:
        """PASSERELLE_CONSENT_URL, else where `passerelle up` started the service, else where it listens by itself."""
        if self.consent_address:
            return self.consent_address
        try:
            found = json.loads(self.home.supervised_file.read_text())["consent_url"]
        except (OSError, ValueError, KeyError, TypeError):
            found = ""
        return str(found or CONSENT_URL)

    @property
    def client_file(self) -> Path:
        """PASSERELLE_CLIENT: as which client tokens are asked for at an identity provider; else `keys/client.json`."""
        return self.client or self.home.keys / "client.json"

    def consent_store_url(self) -> str:
        """PASSERELLE_CONSENT_STORE (`postgresql+psycopg://…`), else a SQLite file in this home."""
        return self.consent_store or f"sqlite:///{self.home.store / 'consent.db'}"

    def ledger_index_url(self) -> str:
        """PASSERELLE_LEDGER_INDEX (`postgresql+psycopg://…`), else a SQLite file in this home."""
        return self.ledger_index or self.home.ledger_index_url

    def ledger_store_url(self) -> str:
        """PASSERELLE_LEDGER_STORE (`postgresql+psycopg://…`), else a SQLite file in this home."""
        return self.ledger_store or f"sqlite:///{self.home.store / 'ledger.sqlite'}"

    def bootstrap_servers(self) -> str:
        """PASSERELLE_BOOTSTRAP, else the broker that this home started. Raises `ConfigFault`."""
        if self.bootstrap:
            return self.bootstrap
        try:
            return str(json.loads(self.home.broker_file.read_text())["bootstrap_servers"])
        except (OSError, ValueError, KeyError):
            raise ConfigFault(
                "no broker is known", where=str(self.home.root), hint="start one: passerelle kafka up"
            ) from None

    def access(self, principal: str) -> KafkaAccess:
        """The principal's credentials; its password file is made at first use."""
        return KafkaAccess(
            bootstrap_servers=self.bootstrap_servers(),
            username=principal,
            password=secret(self.home.keys, f"principals/{principal}"),
        )


def _manifest() -> str:
    """In a city's own folder, its manifest; in this project's, the demonstration city's."""
    return "city.yaml" if Path("city.yaml").is_file() else "deploy/city.yaml"


def settings() -> Settings:
    """Read PASSERELLE_HOME, _MANIFEST, _BOOTSTRAP, _CLIENT, _CONSENT_URL, _REGISTRY and the addresses of the stores."""
    return Settings(
        home=Home(root=Path(os.environ.get("PASSERELLE_HOME", ".passerelle")).absolute()),
        manifest_path=Path(os.environ.get("PASSERELLE_MANIFEST") or _manifest()).absolute(),
        bootstrap=os.environ.get("PASSERELLE_BOOTSTRAP"),
        client=Path(os.environ["PASSERELLE_CLIENT"]) if os.environ.get("PASSERELLE_CLIENT") else None,
        consent_store=os.environ.get("PASSERELLE_CONSENT_STORE"),
        ledger_index=os.environ.get("PASSERELLE_LEDGER_INDEX"),
        ledger_store=os.environ.get("PASSERELLE_LEDGER_STORE"),
        consent_address=os.environ.get("PASSERELLE_CONSENT_URL"),
        registry=os.environ.get("PASSERELLE_REGISTRY") or None,
    )


def consent_url() -> str:
    """Where this home's consent service answers: of every command that asks it, unless it is told."""
    return settings().consent_url()
