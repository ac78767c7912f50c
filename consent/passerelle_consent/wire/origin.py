"""Where a proposal comes from, and the id of the one decision about it."""

import hashlib
from dataclasses import dataclass

from passerelle_consent.wire.body import BadRecord

ORIGIN_BYTES_MAX = 320
"""Of an origin's text: a rule's name and a topic's (Kafka allows 249), with three numbers."""
_LONG_MAX, _INT_MAX = 2**63 - 1, 2**31 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """The outbox record that triggered a proposal, and the rule that made it; n, as one trigger may yield several."""

    rule: str
    topic: str
    partition: int
    offset: int
    n: int = 0

    def text(self) -> str:
        """``rule;topic;partition;offset;n``, as header `ce_origin` carries it."""
        return f"{self.rule};{self.topic};{self.partition};{self.offset};{self.n}"

    @classmethod
    def parse(cls, text: str) -> "Origin":
        """Raises `BadRecord`."""
        try:
            rule, topic, partition, offset, n = text.split(";")
            origin = cls(rule=rule, topic=topic, partition=int(partition), offset=int(offset), n=int(n))
        except ValueError:
            raise BadRecord("an origin is rule;topic;partition;offset;n") from None
        numbers = (origin.partition <= _INT_MAX, origin.offset <= _LONG_MAX, origin.n <= _INT_MAX)
        if min(origin.partition, origin.offset, origin.n) < 0 or not all(numbers):
            raise BadRecord("an origin's numbers are a partition, an offset and a count")
        if not rule or not topic or origin.text() != text or len(text.encode()) > ORIGIN_BYTES_MAX:
            raise BadRecord("an origin is rule;topic;partition;offset;n")
        return origin


def decision_id(origin: Origin) -> bytes:
    """Return the id of the one decision about this proposal: 16 bytes, the same on every retry."""
    return hashlib.sha256(b"passerelle/decision\n" + origin.text().encode()).digest()[:16]
