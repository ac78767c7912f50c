"""What stands in an inbox: deliveries and notices of erasure, read from their records. Pure.

An inbox holds what the gate wrote and nothing else (DESIGN P1), so a record that does not read so is a fault, never
passed over: the contracts of the reader are not the gate's, or this is not the city's broker.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from passerelle.envelope import BadEnvelope, Event, parse_event
from passerelle.pseudonyms import REF_BYTES
from passerelle_schemas.catalogue import Catalogue, UnknownContract
from passerelle_schemas.codec import Undecodable
from passerelle_schemas.faults import Fault
from passerelle_schemas.topics import SUBJECT_ERASED

ID_BYTES = 16


class InboxRecord(Protocol):
    """A record as a client of Kafka gives it: aiokafka's `ConsumerRecord` is one."""

    @property
    def topic(self) -> str: ...  # noqa: D102 - Kafka's words
    @property
    def partition(self) -> int: ...  # noqa: D102 - the same
    @property
    def offset(self) -> int: ...  # noqa: D102 - the same
    @property
    def timestamp(self) -> int:
        """Epoch milliseconds."""

    @property
    def key(self) -> bytes | None: ...  # noqa: D102 - the same
    @property
    def value(self) -> bytes | None: ...  # noqa: D102 - the same
    @property
    def headers(self) -> Iterable[tuple[str, bytes]]: ...  # noqa: D102 - the same


class InboxFault(Fault):
    """The inbox cannot be read, or holds what no gate of this city wrote. Nothing is passed over."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """One event that the gate let through, with the fields that the recipient may have."""

    decision_id: bytes
    """16 bytes; the leaf of the ledger that says why this was delivered."""
    flow: str
    purpose: str
    type: str
    event_id: str
    source: str
    """CloudEvents `source`: `/department/<id>`."""
    pseudonym: bytes = field(repr=False)
    """16 bytes: the recipient's own name for the subject."""
    value: dict[str, Any] = field(repr=False)
    time: datetime
    """When the event happened (``ce_time``)."""
    partition: int
    offset: int
    appended: datetime
    """When the broker appended the delivery (``LogAppendTime``)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Erased:
    """The bus has forgotten this subject: erase your copies, unless the law makes you keep them (GDPR Art. 17(3))."""

    erasure_id: bytes
    """16 bytes; acknowledge it: ``POST /v1/erasures/{id}/acknowledgement``."""
    pseudonym: bytes = field(repr=False)
    """16 bytes; it may be of somebody of whom this department never received anything."""
    time: datetime
    """When the erasure was asked for."""
    partition: int
    offset: int


def parse(record: InboxRecord, catalogue: Catalogue) -> Delivery | Erased:
    """Read one record of an inbox. Raises `InboxFault`: it names the place, never the content."""
    try:
        event = parse_event(record.headers)
    except BadEnvelope as exc:
        raise _unreadable(record, exc.what) from None
    return _erased(record, event) if event.type == SUBJECT_ERASED else _delivery(record, event, catalogue)


def _erased(record: InboxRecord, event: Event) -> Erased:
    try:
        erasure, time = bytes.fromhex(event.id), datetime.fromisoformat(event.time)
    except ValueError as exc:
        raise _unreadable(record, f"a header is malformed ({type(exc).__name__})") from None
    if len(erasure) != ID_BYTES or len(record.key or b"") != REF_BYTES or record.value:
        raise _unreadable(record, "id, key or body is not what the gate writes in a notice of erasure")
    return Erased(
        erasure_id=erasure,
        pseudonym=record.key or b"",
        time=time,
        partition=record.partition,
        offset=record.offset,
    )


def _delivery(record: InboxRecord, event: Event, catalogue: Catalogue) -> Delivery:
    try:
        contract, value = catalogue.decode(record.value or b"")
        time = datetime.fromisoformat(event.time)
        headers = dict(record.headers)
        decision = bytes.fromhex(headers["ce_decisionid"].decode())
        flow, purpose = headers["ce_flow"].decode(), headers["ce_purpose"].decode()
    except (Undecodable, UnknownContract) as exc:
        raise _unreadable(record, exc.what) from None
    except (KeyError, ValueError) as exc:
        raise _unreadable(record, f"a header is missing or malformed ({type(exc).__name__})") from None
    if contract.type != event.type or len(decision) != ID_BYTES or len(record.key or b"") != REF_BYTES:
        raise _unreadable(record, "type, decision id or key is not what the gate writes")
    return Delivery(
        decision_id=decision,
        flow=flow,
        purpose=purpose,
        type=contract.type,
        event_id=event.id,
        source=event.source,
        pseudonym=record.key or b"",
        value=value,
        time=time,
        partition=record.partition,
        offset=record.offset,
        appended=datetime.fromtimestamp(record.timestamp / 1000, UTC),
    )


def _unreadable(record: InboxRecord, problem: str) -> InboxFault:
    place = f"{record.topic}[{record.partition}]@{record.offset}"
    return InboxFault(problem, where=place, hint="do the contracts of this department match the gate's?")
