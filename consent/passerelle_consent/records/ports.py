"""What the consent service asks of its surroundings. The composition root passes the real things, tests pass fakes."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any, NewType, Protocol

from passerelle_consent.policy.decide import Reason, Verdict
from passerelle_consent.records.log import LogFilter, OwnEntry

SubjectRef = NewType("SubjectRef", bytes)
"""16 bytes, known to the bus alone (DESIGN §4)."""

Pseudonym = NewType("Pseudonym", bytes)
"""16 bytes, one per subject and department."""

Clock = Callable[[], int]
"""The time, epoch milliseconds."""

NewId = Callable[[], bytes]
"""A new 16-byte id. Ids are made before anything is written, so that every step can be repeated."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """A pivot identity as it came in: used in memory, never stored, logged or shown (no field has a repr)."""

    given_names: tuple[str, ...] = field(repr=False)
    family_name: str = field(repr=False)
    birth_date: date = field(repr=False)
    gender: str = field(repr=False)
    birth_place: str = field(repr=False)
    birth_country: str = field(repr=False)


class BadIdentity(Exception):
    """The register cannot normalise an identity; ``index`` is its place in the list. It never quotes it."""

    def __init__(self, index: int) -> None:
        super().__init__(f"identity {index} cannot be normalised")
        self.index = index


class IdentityRegister(Protocol):
    """The bus's keys over people (DESIGN §4)."""

    @property
    def departments(self) -> frozenset[str]:
        """Whoever has a key."""
        ...

    def refs(self, identities: Sequence[Identity]) -> list[SubjectRef]:
        """Hash each identity, in order. Raises `BadIdentity`."""
        ...

    def pseudonyms(self, department: str, refs: Sequence[SubjectRef]) -> list[Pseudonym]:
        """Return the department's pseudonyms, in order."""
        ...

    def ref(self, department: str, pseudonym: Pseudonym) -> SubjectRef:
        """Return the subject behind a department's pseudonym: some ref always comes out, known or not."""
        ...


class Role(StrEnum):
    """What a principal may do (`access.RULES` says where): the OAuth2 scopes of its token."""

    CITIZEN = "citizen"
    GUARDIAN = "guardian"
    DEPARTMENT = "department"
    OFFICER = "officer"
    AUDITOR = "auditor"
    OPERATOR = "operator"


PERSONAL = frozenset({Role.CITIZEN, Role.GUARDIAN})
"""Held by people for themselves. A token holds either these or an office's, never both."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Principal:
    """Who calls. It uses the pseudonyms of its own department only."""

    name: str
    """Tells principals apart, and names no person: for a citizen it is a hash."""
    department: str | None
    """Whose pseudonyms it uses: for a citizen the portal's. None: an auditor or operator of the whole city."""
    roles: frozenset[Role]
    pseudonym: Pseudonym | None = field(default=None, repr=False)
    """A citizen's own, of that department."""

    @property
    def personal(self) -> bool:
        """Whether it is a citizen, and no office."""
        return not self.roles.isdisjoint(PERSONAL)


class Authenticator(Protocol):
    """Bearer tokens: who holds one."""

    async def __call__(self, token: str) -> Principal:
        """Return whose token it is. Raises `Problem`: a kind of its own for each reason to refuse it."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    """A decision about a subject, as the ledger has it. ``index`` is its place in the log."""

    index: int
    id: bytes
    at_ms: int
    verdict: Verdict
    reason: Reason
    flow: str | None
    recipient: str | None
    agreements: tuple[str, ...]
    policy: bytes | None
    withheld: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Looked:
    """Somebody else than the subject read the subject's data, as the ledger has it."""

    index: int
    id: bytes
    at_ms: int
    department: str | None
    reader: str | None
    what: str | None
    mandate: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class DisclosureFilter:
    """Which decisions are asked for. Times are epoch milliseconds, [since, until)."""

    agreement: str | None = None
    """An agreement's id: under any of its versions."""
    recipient: str | None = None
    verdict: Verdict | None = None
    since_ms: int | None = None
    until_ms: int | None = None


class LedgerAway(Exception):
    """The ledger cannot be read now. Its text is the class of what went wrong."""


class SubjectEntries(Protocol):
    """The ledger's entries about one subject, newest first. Called on a thread; all raise `LedgerAway`.

    A page is what stands below index ``before``: what comes in meanwhile disturbs no page.
    """

    def decisions(
        self, ref: SubjectRef, wanted: DisclosureFilter, *, before: int | None, limit: int
    ) -> Sequence[Decided]:
        """Return at most ``limit`` decisions that are asked for."""
        ...

    def readers(self, ref: SubjectRef, *, before: int | None, limit: int) -> Sequence[Looked]:
        """Return at most ``limit`` reads."""
        ...

    def entries(self, ref: SubjectRef, wanted: LogFilter, *, before: int | None, limit: int) -> Sequence[OwnEntry]:
        """Return at most ``limit`` entries of any type that are asked for."""
        ...

    def proof(self, ref: SubjectRef, ident: bytes) -> str | None:
        """Return the tlog-proof of an entry; None when it is none of this subject's, or not published yet."""
        ...

    def key(self, ref: SubjectRef) -> bytes | None:
        """Return k_subject, with which anybody finds the subject's entries; None when there are none."""
        ...


class Written(Protocol):
    """Where a record came to stand."""

    @property
    def offset(self) -> int:
        """Negative when the broker knows the record already and no longer knows where (a late duplicate)."""
        ...


class Producer(Protocol):
    """An idempotent producer with acks=all: records of one partition arrive in the order sent."""

    async def begin(self) -> None:
        """Begin a batch."""
        ...

    async def send(
        self, topic: str, value: bytes | None = None, key: bytes | None = None, partition: int | None = None
    ) -> asyncio.Future[Any]:
        """Take a record; the future gives a `Written`."""
        ...

    async def end(self, failure: Exception | None) -> bool:
        """End the batch, which ``failure`` stopped short; return whether what was taken of it stands.

        If it does not, or nobody knows, this producer is of no more use. Raises `relay.Superseded`.
        """
        ...

    async def stop(self) -> None:
        """Finish what was taken, then close."""
        ...


Connect = Callable[[], Awaitable[Producer]]
"""Start a producer."""


class FenceRecord(Protocol):
    """A record of the topic `fence`."""

    partition: int
    value: bytes | None


class FenceConsumer(Protocol):
    """A read_committed consumer of aiokafka's shape, assigned to every partition of `fence` from its beginning."""

    async def getmany(self, *, timeout_ms: int) -> Mapping[Any, Sequence[FenceRecord]]:
        """Return what is new by partition, or nothing after the time-out."""
        ...

    async def stop(self) -> None:
        """Close."""
        ...
