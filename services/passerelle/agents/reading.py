"""From the raw records of one outbox partition to events that were heard, or the reason why one was refused.

Decoding happens here, inside the agent: Faust would acknowledge a record that it cannot decode ahead of its
predecessors (DESIGN §5a, rule 1).
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from passerelle.envelope import BadEnvelope, Event, parse_event, source_of
from passerelle.pseudonyms import REF_BYTES, Keyring
from passerelle_schemas.catalogue import Catalogue, Contract, UnknownContract
from passerelle_schemas.codec import Undecodable


class Refusal(StrEnum):
    """Why something went to the dead letters. A closed list: operators count by it."""

    BAD_KEY = "bad-key"
    BAD_ENVELOPE = "bad-envelope"
    UNKNOWN_SCHEMA = "unknown-schema"
    UNDECODABLE = "undecodable"
    WRONG_TYPE = "wrong-type"
    """A known contract, but not one that any rule of the app takes from this outbox."""
    NO_RECIPIENT = "no-recipient"
    RULE_ERROR = "rule-error"
    TOO_SLOW = "too-slow"
    """The rule did not come back from it, and the process ended."""
    TOO_LARGE = "too-large"
    BAD_ENTRY = "bad-entry"
    LATE = "late"
    """Older than its subject's newest event by more than window and grace."""
    STATE_TOO_LARGE = "state-too-large"
    """It would make more of its subject's state than a rule may hold; the state is as it was."""


class Record(Protocol):
    """What is used of aiokafka's ConsumerRecord."""

    @property
    def topic(self) -> str:
        """Name of the topic."""

    @property
    def partition(self) -> int:
        """Number of the partition."""

    @property
    def offset(self) -> int:
        """Place in the partition."""

    @property
    def timestamp(self) -> int:
        """Append time, ms since 1970 (`LogAppendTime` on outboxes and join logs)."""

    @property
    def key(self) -> bytes | None:
        """Pseudonym on an outbox, subject ref on a join's log."""

    @property
    def value(self) -> bytes | None:
        """Framed Avro on an outbox."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]:
        """CloudEvents attributes on an outbox."""


class Heard(NamedTuple):
    """An event that can be trusted as far as bytes go (a plain tuple: there is one for every record)."""

    record: Record
    contract: Contract
    value: dict[str, Any]
    framed: bytes
    event: Event
    occurred_ms: int
    subject: bytes
    """Subject ref, 16 bytes."""


class Refused(NamedTuple):
    """A record that no rule will see, and why; ``error`` is a class name, never a message."""

    record: Record
    reason: Refusal
    error: str | None = None


class Batch:
    """Records of one partition, in offset order, without a hole to the batch before it."""

    __slots__ = ("partition", "read", "records", "topic")

    def __init__(self, topic: str, partition: int, records: Sequence[Record]) -> None:
        self.topic = topic
        self.partition = partition
        self.records = records
        self.read: list[Heard | Refused] | None = None
        """What the topic's reader made of it: several rules share one decoding."""


class Reader:
    """Reads one outbox topic: envelope, key, Avro. Pure but for the key material it holds."""

    def __init__(self, department: str, accepted: Iterable[Contract], catalogue: Catalogue, keyring: Keyring) -> None:
        self._department = department
        self._source = source_of(department)
        self._accepted = {c.schema_id: c for c in accepted}
        self._catalogue = catalogue
        self._keyring = keyring

    def read(self, records: Sequence[Record]) -> list[Heard | Refused]:
        """One outcome for each record, in order. Never raises for what a record holds."""
        keyed = [r for r in records if r.key is not None and len(r.key) == REF_BYTES]
        refs = self._keyring.subjects(self._department, b"".join(r.key for r in keyed if r.key is not None))
        subjects = {r.offset: refs[i * REF_BYTES : (i + 1) * REF_BYTES] for i, r in enumerate(keyed)}
        return [self._one(r, subjects.get(r.offset)) for r in records]

    def _one(self, record: Record, subject: bytes | None) -> Heard | Refused:
        try:
            contract, value = self._catalogue.decode(record.value)
            if contract.schema_id not in self._accepted:
                return Refused(record, Refusal.WRONG_TYPE)
            if subject is None or record.value is None:
                return Refused(record, Refusal.BAD_KEY)
            event = parse_event(record.headers)
            occurred_ms = self._checked(event, contract)
        except UnknownContract:
            return Refused(record, Refusal.UNKNOWN_SCHEMA)
        except Undecodable:
            return Refused(record, Refusal.UNDECODABLE)
        except BadEnvelope:
            return Refused(record, Refusal.BAD_ENVELOPE)
        return Heard(record, contract, value, record.value, event, occurred_ms, subject)

    def _checked(self, event: Event, contract: Contract) -> int:
        """Time of the event in ms. The broker proved which department wrote here; the envelope must not say another."""
        if event.source != self._source:
            raise BadEnvelope("header ce_source is not this outbox's department")
        if event.type != contract.type:
            raise BadEnvelope("header ce_type is not the schema's event type")
        try:
            at = datetime.fromisoformat(event.time)
        except ValueError:
            raise BadEnvelope("header ce_time is not RFC 3339") from None
        if at.tzinfo is None:
            raise BadEnvelope("header ce_time has no offset from UTC")
        return int(at.timestamp() * 1000)
