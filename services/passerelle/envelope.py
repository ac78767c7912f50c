"""CloudEvents 1.0 in Kafka's binary mode: what the headers of a record say (DESIGN §3).

The key carries the person; no header does.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from passerelle_consent.wire import BadRecord, Origin
from passerelle_schemas.faults import Fault

Headers = list[tuple[str, bytes]]

_FIXED: Headers = [("ce_specversion", b"1.0"), ("content-type", b"application/avro")]
_TEXT_BYTES_MAX = 512
"""Bounds every header text: longer ones come from nobody of ours."""


class BadEnvelope(Fault):
    """Headers that are not those of an event. Names the header, never what it held."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """The CloudEvents attributes of one event."""

    id: str
    source: str
    type: str
    time: str
    """RFC 3339, UTC."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """An event on its way to one recipient, before the decision."""

    event: Event
    flow: str
    origin: Origin


def rfc3339(instant: datetime) -> str:
    """UTC with milliseconds. ``instant`` is aware."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def source_of(department: str) -> str:
    """CloudEvents `source` of a department."""
    return f"/department/{department}"


def proposal_id(origin: Origin, flow: str) -> str:
    """Return the id of the proposal for ``flow`` with this origin: the same on every replay."""
    return hashlib.sha256(f"passerelle/proposal\n{origin.text()}\n{flow}".encode()).hexdigest()[:32]


def event_headers(event: Event) -> Headers:
    """Headers of a record on an outbox."""
    return [*_FIXED, *_attributes(event)]


def notice_headers(event: Event) -> Headers:
    """Headers of a record without a body, which has no content type (CloudEvents 1.0, "datacontenttype")."""
    return [_FIXED[0], *_attributes(event)]


def _attributes(event: Event) -> Headers:
    return [
        ("ce_id", event.id.encode()),
        ("ce_source", event.source.encode()),
        ("ce_type", event.type.encode()),
        ("ce_time", event.time.encode()),
    ]


def proposal_headers(event: Event, *, flow: str, origin: Origin) -> Headers:
    """Headers of a record on the exchange."""
    return [*event_headers(event), ("ce_flow", flow.encode()), ("ce_origin", origin.text().encode())]


def delivery_headers(proposal: Proposal, *, decision: bytes, purpose: str, policy: bytes) -> Headers:
    """Headers of a record in an inbox. The origin stays on the bus: a recipient is owed the event alone."""
    return [
        *event_headers(proposal.event),
        ("ce_flow", proposal.flow.encode()),
        ("ce_decisionid", decision.hex().encode()),
        ("ce_purpose", purpose.encode()),
        ("ce_policy", policy.hex().encode()),
    ]


def parse_event(headers: Iterable[tuple[str, bytes]] | None) -> Event:
    """Raises `BadEnvelope`."""
    return _event(dict(headers or ()))


def parse_proposal(headers: Iterable[tuple[str, bytes]] | None) -> Proposal:
    """Raises `BadEnvelope`."""
    read = dict(headers or ())
    try:
        origin = Origin.parse(_text(read, "ce_origin"))
    except BadRecord as exc:
        raise BadEnvelope(f"header ce_origin: {exc.what}") from None
    return Proposal(event=_event(read), flow=_text(read, "ce_flow"), origin=origin)


def _event(read: dict[str, bytes]) -> Event:
    if read.get("ce_specversion") != b"1.0":
        raise BadEnvelope("header ce_specversion is not 1.0")
    return Event(
        id=_text(read, "ce_id"),
        source=_text(read, "ce_source"),
        type=_text(read, "ce_type"),
        time=_text(read, "ce_time"),
    )


def _text(read: dict[str, bytes], name: str) -> str:
    raw = read.get(name)
    if not raw:
        raise BadEnvelope(f"header {name} is missing")
    if len(raw) > _TEXT_BYTES_MAX:
        raise BadEnvelope(f"header {name} is longer than {_TEXT_BYTES_MAX} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise BadEnvelope(f"header {name} is not UTF-8") from None
