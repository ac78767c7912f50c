"""Which rows the last batch of a relay held, as it stands on ``relayed.<department>`` in the batch's own transaction.

A row is forgotten after its batch is committed; a crash in between leaves rows that the bus has. Whoever starts next
reads here which ones, and forgets them unsent. One record is enough: no batch is sent before the one ahead of it is
forgotten. It names rows by their number and their event id, as a table that was made anew counts from 1 again.
"""

import struct
from collections.abc import Collection
from uuid import UUID

from passerelle.publish.outgoing import Prepared, PublishFault
from passerelle_schemas.topics import relayed

Sent = frozenset[tuple[int, str]]
"""(id of the row, its event id): of one batch, 1,000 at most, 24 kB."""

NOTHING: Sent = frozenset()

_KEY = b"last"
_ROW = struct.Struct(">q16s")


def mark(department: str, sent: Collection[tuple[int, str]]) -> Prepared:
    """Return the record that goes with a batch."""
    value = b"".join(_ROW.pack(row, bytes.fromhex(event.replace("-", ""))) for row, event in sent)
    return Prepared(topic=relayed(department), key=_KEY, value=value, headers=[])


def sent_last(value: bytes | None) -> Sent:
    """Read such a record; None where there is none yet. Raises `PublishFault`."""
    if value is None:
        return NOTHING
    try:
        return frozenset((row, str(UUID(bytes=event))) for row, event in _ROW.iter_unpack(value))
    except struct.error:
        raise PublishFault("the record of what was sent last cannot be read") from None
