"""Values of the dead-letter topics."""

import json
from dataclasses import dataclass

from passerelle_consent.wire.body import BadRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadLetter:
    """A reference to a record that was not taken, and why. No payload, no key, no person."""

    component: str
    reason: str
    topic: str
    partition: int
    offset: int
    rule: str | None = None
    error: str | None = None
    """The class of the error, never its message: a message may quote the payload."""

    def encode(self) -> bytes:
        """JSON, so that an operator can read the topic with any tool."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps({k: v for k, v in fields.items() if v is not None}, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, value: bytes) -> "DeadLetter":
        """Raises `BadRecord`."""
        try:
            return cls(**json.loads(value))
        except (ValueError, TypeError) as exc:
            raise BadRecord(f"not a dead letter: {type(exc).__name__}") from None
