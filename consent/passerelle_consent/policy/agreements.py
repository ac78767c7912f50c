"""Agreements: the rule that lets one source share with one recipient for one purpose on one lawful basis."""

from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from passerelle_consent.policy.days import end_ms, midnight_ms
from passerelle_schemas.catalogue import Text
from passerelle_schemas.contract import TYPE
from passerelle_schemas.documents import Document, DocumentFault, load_all

Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
Duration = Annotated[str, Field(pattern=r"^P(\d+[DWMY])+$")]


class Basis(StrEnum):
    """The lawful basis of GDPR Art. 6(1)."""

    CONSENT = "6-1-a"
    CONTRACT = "6-1-b"
    LEGAL_OBLIGATION = "6-1-c"
    VITAL_INTERESTS = "6-1-d"
    PUBLIC_TASK = "6-1-e"
    LEGITIMATE_INTERESTS = "6-1-f"

    @property
    def can_be_objected(self) -> bool:
        """GDPR Art. 21(1): the right to object is against points (e) and (f)."""
        return self in (Basis.PUBLIC_TASK, Basis.LEGITIMATE_INTERESTS)


class SubjectClass(StrEnum):
    """Whom an agreement is about."""

    ADULT = "adult"
    MINOR = "minor"
    PROTECTED_ADULT = "protected-adult"


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Purpose(Text):
    """Why data is shared: a code of the Data Privacy Vocabulary (DPV) and plain words."""

    code: str = Field(pattern=r"^dpv:[A-Za-z]+$")


class Coverage(_Document):
    """Field → why the recipient needs it (GDPR Art. 5(1)(c))."""

    fields: dict[str, Text] = Field(min_length=1)


class InForce(_Document):
    """From the first day to the last, both included, in UTC."""

    from_: date = Field(alias="from")
    until: date | None = None


class Notice(Text):
    """What the citizen was told, by version. A consent to a compatible version stays valid."""

    version: int = Field(ge=1)
    compatible_with: frozenset[int] = frozenset()

    def accepts(self, version: int | None) -> bool:
        """Whether a consent given on notice ``version`` still holds under this one."""
        return version == self.version or version in self.compatible_with


class Guardians(StrEnum):
    """How many of a minor's guardians must say yes. To withdraw, one is always enough."""

    ONE = "one"
    """An everyday act, which each parent does alone (French Civil Code, art. 372-2)."""
    BOTH = "both"


class OwnVoice(_Document):
    """From which age a minor speaks alone, and by which law (GDPR Art. 8(1) leaves the age to each State)."""

    age: int = Field(ge=0, lt=18)
    law: str = Field(pattern=r"\S")


class Consent(_Document):
    """How a consent is given under an agreement, where it is the basis (6-1-a)."""

    valid_for: str | None = None
    """How long it lasts, an ISO 8601 duration; None: until it is withdrawn."""
    guardians: Guardians = Guardians.ONE
    own_voice: OwnVoice | None = None
    """None: only a guardian speaks for a minor."""

    @field_validator("valid_for")
    @classmethod
    def _is_a_period(cls, valid_for: str | None) -> str | None:
        if valid_for is not None:
            end_ms(0, valid_for)
        return valid_for

    def until_ms(self, at_ms: int) -> int | None:
        """Return when a consent given at this instant is over; None when it is not by itself."""
        return None if self.valid_for is None else end_ms(at_ms, self.valid_for)


class Consulted(_Document):
    """The public consultation about the draft of this version, and the SHA-256 of its result: a leaf of the ledger."""

    id: Slug
    result: str = Field(pattern=r"^[0-9a-f]{64}$")


class Signature(_Document):
    """Who answers for the agreement, and since when."""

    by: str = Field(min_length=1)
    on: date


class Agreement(_Document):
    """One version of an agreement, immutable once published (DESIGN §5)."""

    id: Slug
    version: int = Field(ge=1)
    source: Slug
    recipient: Slug
    purpose: Purpose
    basis: Basis
    law: str | None = Field(default=None, validate_default=True)
    special_category: str | None = Field(default=None, pattern=r"^9-2-[a-j]$")
    outside_public_tasks: Text | None = None
    """With 6-1-f: why this is none of the tasks of a public authority (GDPR Art. 6(1), second subparagraph)."""
    events: dict[str, Coverage] = Field(min_length=1)
    subjects: frozenset[SubjectClass] = Field(min_length=1)
    in_force: InForce
    retention: Duration
    notice: Notice
    consent: Consent | None = None
    """With 6-1-a alone. None says the same as an empty block."""
    consultation: Consulted | None = None
    review: date
    signed: tuple[Signature, ...] = Field(min_length=1)

    @field_validator("events")
    @classmethod
    def _event_types(cls, events: dict[str, Coverage]) -> dict[str, Coverage]:
        for type_ in events:
            if not TYPE.fullmatch(type_):
                raise ValueError(f"{type_!r} is not <department>.<event>.v<n>")
        return events

    @field_validator("law")
    @classmethod
    def _basis_has_its_law(cls, law: str | None, said: ValidationInfo) -> str | None:
        basis = said.data.get("basis")
        if basis in (Basis.PUBLIC_TASK, Basis.LEGAL_OBLIGATION) and not (law and law.strip()):
            raise ValueError(f"basis {basis} needs the law that enables it (GDPR Art. 6(3))")
        return law

    @property
    def ref(self) -> str:
        """``id@version``, as flows, decisions and the ledger name it."""
        return f"{self.id}@{self.version}"

    def covers(self, source: str) -> bool:
        """Whether ``<type>#<field>`` may be shared under this agreement."""
        type_, _, field = source.partition("#")
        coverage = self.events.get(type_)
        return coverage is not None and field in coverage.fields

    def span_ms(self) -> tuple[int, int | None]:
        """[first, end) of its validity, epoch milliseconds."""
        first = midnight_ms(self.in_force.from_)
        until = self.in_force.until
        return first, None if until is None else midnight_ms(until) + 86_400_000

    def is_in_force(self, now_ms: int) -> bool:
        """Whether an instant, epoch milliseconds, is within its validity."""
        first_ms, end_ms = self.span_ms()
        return first_ms <= now_ms and (end_ms is None or now_ms < end_ms)


def load_agreements(folder: Path) -> list[Agreement]:
    """`read_agreements`, without the documents."""
    return [agreement for _, agreement in read_agreements(folder)]


def read_agreements(folder: Path) -> list[tuple[Document, Agreement]]:
    """Read ``<source>/<id>.v<n>.yaml``. Raises `DocumentFault` with every problem."""
    read = load_all(folder.glob("*/*.yaml"), Agreement)
    problems = []
    for document, agreement in read:
        expected = f"{agreement.source}/{agreement.id}.v{agreement.version}"
        if f"{document.path.parent.name}/{document.path.stem}" != expected:
            problems.append(document.problem((), f"this agreement belongs in {expected}.yaml"))
    if problems:
        raise DocumentFault(problems)
    return read
