"""The value of `consent` under the ref of a subject that is erased."""

from dataclasses import dataclass

import fastavro

from passerelle_consent.policy.packed import REVISION_BYTES
from passerelle_consent.wire import body
from passerelle_consent.wire.body import BadRecord

ERASURE = 0x81
"""First byte of a value of `consent` under a subject ref that says to forget the subject."""
ERASURE_VERSION = bytes([ERASURE])
"""Of an `Erasure`, which shares its topic and key with standings: no reader takes the one for the other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Erasure:
    """A subject's last word on `consent` before the tombstone (GDPR Art. 17): forget, and tell these (Art. 19)."""

    id: bytes
    """Of the change, of the entry in the ledger, and of every notice: what a recipient acknowledges. 16 bytes."""
    revision: int
    """Above that of every standing before it: none of those, sent again, brings the subject back."""
    at_ms: int
    departments: tuple[str, ...]
    """Whose inboxes get a notice: who linked the subject or may have received something."""


_ERASURE = fastavro.parse_schema(
    body.record("Erasure", id=body.fixed("Id", 16), revision="long", at_ms="long", departments=body.array("string"))
)


def encode_erasure(erasure: Erasure) -> bytes:
    """Value of `consent` under the ref of a subject that is erased."""
    plain = {name: getattr(erasure, name) for name in erasure.__slots__}
    return body.encode(_ERASURE, plain, ERASURE_VERSION)


def decode_erasure(value: bytes) -> Erasure:
    """Raises `BadRecord`."""
    read = body.decode(_ERASURE, value, "erasure", ERASURE_VERSION)
    if not 0 <= read["revision"] < 2 ** (8 * REVISION_BYTES):
        raise BadRecord("erasure: a revision that no standing has")
    return Erasure(**{**read, "departments": tuple(read["departments"])})
