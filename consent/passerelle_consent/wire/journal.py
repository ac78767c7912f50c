"""Values of `consent.journal`: what the consent service tells the ledger."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import fastavro

from passerelle_consent.wire import body
from passerelle_consent.wire.body import VERSION

JOURNAL_VERSION = b"\x02"
"""Since entries tell of dead letters; those before read as ever."""


class JournalType(StrEnum):
    """What the consent service tells the ledger. Decisions come from the gate."""

    GIVEN = "given"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    FENCED = "fenced"
    OBJECTED = "objected"
    OVERRIDE = "override"
    REVIEWED = "reviewed"
    LINKED = "linked"
    ERASED = "erased"
    POLICY = "policy"
    AGREEMENT = "agreement"
    KEY = "key"
    READ = "read"
    REQUESTED = "requested"
    REVOKED = "revoked"
    EXPIRED = "expired"
    RESTRICTED = "restricted"
    LIFTED = "lifted"
    ANSWERED = "answered"
    GUARDIAN = "guardian"
    CONSULTED = "consulted"
    REPLAYED = "replayed"
    DISCARDED = "discarded"


class Cause(StrEnum):
    """Why a dead letter is replayed or discarded. Closed, since a sentence could name somebody."""

    SOURCE_MENDED = "source-mended"
    RECEIVER_MENDED = "receiver-mended"
    CONTRACT_MENDED = "contract-mended"
    RULE_MENDED = "rule-mended"
    SUPERSEDED = "superseded"
    """Something newer says the same, or the opposite."""
    NOT_NEEDED = "not-needed"
    NEVER_VALID = "never-valid"


@dataclass(frozen=True, kw_only=True, slots=True)
class JournalEntry:
    """One change that the consent service recorded."""

    id: bytes
    type: JournalType
    at_ms: int
    subject: bytes | None = None
    agreements: tuple[str, ...] = ()
    recipient: str | None = None
    department: str | None = None
    policy: bytes | None = None
    regarding: bytes | None = None
    """The entry that this one answers: the withdrawal that is now fenced."""
    digest: bytes | None = None
    """SHA-256 of the published result of a consultation."""
    reader: str | None = None
    """Of a `read`: as what somebody read (a role). This and the next two are for the subject alone."""
    what: str | None = None
    """Of a `read`: which of the subject's data."""
    mandate: str | None = None
    """Of a `read` by an auditor: the reference of the mandate."""
    component: str | None = None
    """Whose dead letter was replayed or discarded; ``digest`` is the SHA-256 of its reference then."""
    cause: Cause | None = None


_JOURNAL_FIELDS: Mapping[str, Any] = {
    "id": body.fixed("Id", 16),
    "type": body.enum("JournalType", JournalType),
    "at_ms": "long",
    "subject": body.nullable(body.fixed("SubjectRef", 16)),
    "agreements": body.array("string"),
    "recipient": body.nullable("string"),
    "department": body.nullable("string"),
    "policy": body.nullable(body.fixed("Digest", 32)),
    "regarding": body.nullable("Id"),
    "digest": body.nullable("Digest"),
    "reader": body.nullable("string"),
    "what": body.nullable("string"),
    "mandate": body.nullable("string"),
}
_JOURNAL_FIRST = fastavro.parse_schema(body.record("JournalEntry", **_JOURNAL_FIELDS))
_JOURNAL = fastavro.parse_schema(
    body.record(
        "JournalEntry",
        **_JOURNAL_FIELDS,
        component=body.nullable("string"),
        cause=body.nullable(body.enum("Cause", Cause)),
    )
)
_JOURNAL_TYPE = {body.symbol(t): t for t in JournalType}
_CAUSE = {body.symbol(c): c for c in Cause}


def encode_journal(entry: JournalEntry) -> bytes:
    """Value of `consent.journal`."""
    plain = {name: getattr(entry, name) for name in entry.__slots__}
    cause = None if entry.cause is None else body.symbol(entry.cause)
    return body.encode(_JOURNAL, {**plain, "type": body.symbol(entry.type), "cause": cause}, JOURNAL_VERSION)


def decode_journal(value: bytes) -> JournalEntry:
    """Raises `BadRecord`."""
    if value[:1] == VERSION:
        read = body.decode(_JOURNAL_FIRST, value, "journal entry")
    else:
        read = body.decode(_JOURNAL, value, "journal entry", JOURNAL_VERSION)
    agreements: Iterable[str] = read.pop("agreements")
    cause = _CAUSE.get(read.pop("cause", None))
    return JournalEntry(**{**read, "type": _JOURNAL_TYPE[read["type"]]}, agreements=tuple(agreements), cause=cause)
