"""The manifest: one file that says what a city is. Everything on the broker follows from it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self
from zoneinfo import available_timezones

from pydantic import BaseModel, ConfigDict, Field

from passerelle.keys import key_bytes
from passerelle.pseudonyms import CITY_KEY_BYTES, DEPARTMENT_KEY_BYTES, Keyring
from passerelle_schemas.catalogue import Text
from passerelle_schemas.documents import Document, DocumentFault
from passerelle_schemas.faults import Fault

if TYPE_CHECKING:
    from passerelle.config import Home
    from passerelle_consent.policy.bundle import PolicyBundle
    from passerelle_consent.receipts.parties import Controller
    from passerelle_consent.receipts.seal import Seal

RECEIPT_KEY_BYTES = 32
"""Ed25519 (RFC 8032)."""

PARTITIONS_MAX = 1_000
"""Each is a producer and some threads of the gate; more than this needs more than one city."""

RESERVED = frozenset(
    {"admin", "broker", "controller", "gate", "consent", "ledger", "observer", "agents", "control-room"}
)
"""Principals of the bus itself: a department of that name would have their rights."""

DAY_MS = 86_400_000
# The longest month and year: what must be kept for a month is not deleted on the 29th day.
UNIT_DAYS = {"D": 1, "W": 7, "M": 31, "Y": 366}
FOREVER_MS = -1
"""Kafka's word for it."""

Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
Address = Annotated[str, Field(min_length=1, max_length=200)]
Mail = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=254)]
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
"""An ISO 3166-1 code."""
Retention = Annotated[str, Field(pattern=r"^(forever|P(\d+[DWMY])+)$")]
Uri = Annotated[str, Field(pattern=r"^[a-z][a-z0-9+.-]*:[\x21-\x7e]+$", max_length=255)]
# Plain HTTP only to this machine: whoever can change the keys on their way is everybody.
JwksUri = Annotated[str, Field(pattern=r"^(https://|http://(localhost|127\.0\.0\.1)[:/])[\x21-\x7e]+$", max_length=255)]
KeyName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*(/[a-z][a-z0-9-]*)*$")]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Department(_Section):
    """A data controller of the city: who answers there, and where it keeps data (GDPR Art. 13(1), 14(1))."""

    id: Slug
    name: Text
    address: Address
    contact: Mail
    dpo: Mail | None = None
    """Its own data protection officer; None: the city's."""
    locations: tuple[Country, ...] = Field(default=(), max_length=50)
    """The countries where it keeps and processes data; none: the city's alone."""


class AgentsApp(_Section):
    """An app of agents: a Python module with an `AgentApp` named ``city``."""

    id: Slug
    module: str = Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")

    @property
    def principal(self) -> str:
        """Its principal, and its consumer group."""
        return f"agents.{self.id}"


class _Directories(_Section):
    contracts: Path
    flows: Path
    agreements: Path


class Retentions(_Section):
    """How long each kind of topic keeps its records, as written."""

    exchange: Retention = "P3D"
    inbox: Retention = "P26D"
    decisions: Retention = "P26D"
    journal: Retention = "P26D"
    dead_letters: Retention = "P90D"


class KeyNames(_Section):
    """Names of key files, relative to the home's ``keys`` folder."""

    city: KeyName = "city"
    departments: KeyName = "departments"
    issuer: KeyName = "issuer"
    receipts: KeyName = "receipts"


class Identity(_Section):
    """Whose access tokens the consent service takes, and for which audience (RFC 9068)."""

    issuer: Uri
    audience: Uri
    jwks_uri: JwksUri | None = None
    """Where the provider's public keys are. Neither this nor a file: the city's own issuer."""
    jwks_file: Path | None = None
    """Or a copy of them, relative to the manifest."""

    @property
    def local(self) -> bool:
        """Whether the city mints the tokens itself."""
        return self.jwks_uri is None and self.jwks_file is None


class AuthorityData(_Section):
    """Where citizens may complain (GDPR Art. 77)."""

    name: str = Field(min_length=1, max_length=200)
    url: Uri


class ControllerData(_Section):
    """Who answers for what the city does with data, and where to turn: what a receipt names (ISO/IEC TS 27560)."""

    name: Text
    address: Address
    dpo: Mail
    """The data protection officer's mail address."""
    privacy: Uri
    """Where the city tells what it does with data."""
    consent: Uri
    """The public address of the consent service."""
    authority: AuthorityData
    jurisdiction: Country = "FR"


class _File(_Section):
    id: Slug
    name: Text
    origin: str = Field(pattern=r"^[a-z0-9.-]+(/[A-Za-z0-9._-]+)*$")
    partitions: int = Field(default=12, ge=1, le=PARTITIONS_MAX)
    directories: _Directories
    departments: tuple[Department, ...] = Field(min_length=1)
    registrars: frozenset[Slug] = frozenset()
    agents: tuple[AgentsApp, ...] = ()
    observer: bool = False
    desk: Slug | None = None
    timezone: str = "Europe/Paris"
    retention: Retentions = Retentions()
    keys: KeyNames = KeyNames()
    identity: Identity
    controller: ControllerData


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A city, as its manifest says; folders are absolute."""

    path: Path
    id: str
    name: Text
    origin: str
    partitions: int
    contracts: Path
    flows: Path
    agreements: Path
    departments: tuple[Department, ...]
    registrars: frozenset[str]
    """Departments whose officers record guardians and emancipations, on a civil record or a judgment."""
    agents: tuple[AgentsApp, ...]
    observer: bool
    """Whether a principal exists that reads everything and counts: in a demonstration, and nowhere else."""
    desk: str | None
    """The department in whose name the citizens' pages speak."""
    timezone: str
    """In which the pages tell the time (IANA's name)."""
    retention: Retentions
    keys: KeyNames
    identity: Identity
    controller: ControllerData

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a manifest. Raises `DocumentFault` with file and line of every problem."""
        if not path.exists():
            hint = "cd into a city's folder, or make a city: passerelle init <name>"
            raise Fault("there is no city here", where=str(path), hint=hint)
        document = Document(path)
        file = document.parse(_File)
        problems = list(_problems(document, file))
        if problems:
            raise DocumentFault(problems)
        folders = {name: (path.parent / folder).resolve() for name, folder in file.directories}
        fields = {name: value for name, value in file if name != "directories"}
        return cls(path=path, **fields, **folders)

    @property
    def department_ids(self) -> tuple[str, ...]:
        """In the manifest's order."""
        return tuple(d.id for d in self.departments)

    @property
    def principals(self) -> tuple[str, ...]:
        """Everyone who connects to the broker, its own users aside."""
        apps = (app.principal for app in self.agents)
        own = ("gate", "consent", "ledger", "control-room")
        return (*self.department_ids, *own, *apps, *(("observer",) if self.observer else ()))

    def policy_bundle(self) -> "PolicyBundle":
        """The city's policy. Raises `DocumentFault` with file and line of every problem in any of its files."""
        from passerelle.city.lint import checked

        return checked(self)

    def city_key(self, home: "Home") -> bytes:
        """The key of the subject refs, made at first use. Raises `KeyFault`."""
        return key_bytes(home.keys, self.keys.city, CITY_KEY_BYTES)

    def seal(self, home: "Home") -> "Seal":
        """The key of the receipts, made at first use. Raises `KeyFault`."""
        from passerelle_consent.receipts.seal import Seal

        return Seal.of(key_bytes(home.keys, self.keys.receipts, RECEIPT_KEY_BYTES))

    def data_controller(self) -> "Controller":
        """The city and its departments, as a receipt names them."""
        from passerelle_consent.receipts.parties import Authority, Controller, Party

        city = self.controller
        parties = {
            d.id: Party(
                name=d.name,
                address=d.address,
                contact=d.contact,
                dpo=d.dpo or city.dpo,
                locations=d.locations or (city.jurisdiction,),
            )
            for d in self.departments
        }
        authority = Authority(name=city.authority.name, url=city.authority.url)
        return Controller(**{**dict(city), "authority": authority}, departments=parties)

    def keyring(self, home: "Home") -> Keyring:
        """Every department's key, made at first use. Raises `KeyFault`."""
        names: Mapping[str, str] = {d: f"{self.keys.departments}/{d}" for d in self.department_ids}
        return Keyring({d: key_bytes(home.keys, name, DEPARTMENT_KEY_BYTES) for d, name in names.items()})


def _problems(document: Document, file: _File) -> Iterator[str]:
    listed = {"departments": [d.id for d in file.departments], "agents": [a.id for a in file.agents]}
    for section, ids in listed.items():
        for i, name in enumerate(ids):
            if name in ids[:i]:
                yield document.problem((section, i, "id"), f"{name} is listed twice")
    for i, department in enumerate(file.departments):
        if department.id in RESERVED:
            yield document.problem(("departments", i, "id"), f"{department.id} is a principal of the bus itself")
    for name in sorted(file.registrars - {d.id for d in file.departments}):
        yield document.problem(("registrars",), f"{name} is not a department")
    yield from _page_problems(document, file)
    if file.identity.jwks_uri and file.identity.jwks_file:
        yield document.problem(("identity", "jwks_file"), "jwks_uri says it already: one of them")
    for name, folder in file.directories:
        if not (document.path.parent / folder).is_dir():
            yield document.problem(("directories", name), f"{folder} is not a folder")


def _page_problems(document: Document, file: _File) -> Iterator[str]:
    if file.desk is not None and file.desk not in {d.id for d in file.departments}:
        yield document.problem(("desk",), f"{file.desk} is not a department")
    if file.timezone not in available_timezones():
        yield document.problem(("timezone",), f"{file.timezone} is no time zone: Europe/Paris, …")


def retention_ms(text: str) -> int:
    """Milliseconds of ``P30D``, ``P1Y6M``, ``forever`` (-1, as Kafka says it); months and years at their longest."""
    if text == "forever":
        return FOREVER_MS
    return sum(int(n) * UNIT_DAYS[unit] for n, unit in re.findall(r"(\d+)([DWMY])", text)) * DAY_MS
