"""An event on its way out: checked against its contract, then bytes for a topic. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from passerelle.envelope import Event, Headers, event_headers, rfc3339, source_of
from passerelle.pseudonyms import REF_BYTES
from passerelle_schemas.catalogue import Catalogue, Contract
from passerelle_schemas.codec import Undecodable
from passerelle_schemas.faults import Fault
from passerelle_schemas.topics import outbox

EVENT_ID_CHARS_MAX = 200


class PublishFault(Fault):
    """An event that cannot be published. Names the field, never the value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outgoing:
    """One event to publish. ``time`` is aware; ``event_id`` is the caller's, so that a repeat is the same event."""

    type: str
    pseudonym: bytes = field(repr=False)
    value: Mapping[str, Any] = field(repr=False)
    event_id: str
    time: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """An event that fits its contract, as bytes. ``tag`` is the caller's and comes back with the place."""

    topic: str
    key: bytes = field(repr=False)
    value: bytes = field(repr=False)
    headers: Headers = field(repr=False)
    tag: int = 0


def own_contract(catalogue: Catalogue, department: str, type_: str) -> Contract:
    """Return the contract of an event that the department publishes. Raises `PublishFault`, `UnknownContract`."""
    contract = catalogue.by_type(type_)
    if contract.department != department or contract.derived:
        raise PublishFault(f"{type_} is not an event that {department} publishes")
    return contract


def prepare(catalogue: Catalogue, department: str, outgoing: Outgoing, *, tag: int = 0) -> Prepared:
    """Check an event against its contract and turn it into bytes. Raises `PublishFault`, `UnknownContract`."""
    contract = own_contract(catalogue, department, outgoing.type)
    try:
        value = contract.encode(outgoing.value)
    except Undecodable as exc:
        raise PublishFault(exc.what) from None
    return addressed(
        contract,
        value,
        pseudonym=outgoing.pseudonym,
        event_id=outgoing.event_id,
        time=outgoing.time,
        tag=tag,
    )


def addressed(
    contract: Contract, value: bytes, *, pseudonym: bytes, event_id: str, time: datetime, tag: int = 0
) -> Prepared:
    """Put key, headers and topic to an encoded value. Raises `PublishFault`."""
    if len(pseudonym) != REF_BYTES:
        raise PublishFault(f"{contract.type}: the key is not a pseudonym of {REF_BYTES} bytes")
    if not 1 <= len(event_id) <= EVENT_ID_CHARS_MAX:
        raise PublishFault(f"{contract.type}: the event id is not 1 to {EVENT_ID_CHARS_MAX} characters")
    if time.tzinfo is None:
        raise PublishFault(f"{contract.type}: the time has no time zone")
    event = Event(id=event_id, source=source_of(contract.department), type=contract.type, time=rfc3339(time))
    topic = outbox(contract.department, contract.event)
    return Prepared(topic=topic, key=pseudonym, value=value, headers=event_headers(event), tag=tag)
