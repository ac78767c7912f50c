"""Which entries are asked for. Pure.

An entry is canonical JSON, so that a value that is asked for stands in its bytes in one spelling: most entries that are
not wanted are told from those bytes, and never read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from passerelle_consent.ledger.faults import Invalid
from passerelle_consent.ledger.log.entries import TIME_MS_MAX, Entry, EntryType, time_of, time_text
from passerelle_consent.policy.decide import Reason, Verdict

_TIME = b'"time":"'
_TIME_CHARS = len("0000-00-00T00:00:00.000Z")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """What many entries have in common: what can be asked for besides when and which. A log has some hundreds."""

    type: str
    verdict: str | None
    reason: str | None
    flow: str | None
    recipient: str | None
    department: str | None
    agreements: tuple[str, ...] | None

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """Return an entry's."""
        return cls(**{name: getattr(entry, name) for name in cls.__slots__})


@dataclass(frozen=True, kw_only=True)
class Selection:
    """All that is said holds for an entry that is wanted. Times are epoch milliseconds, [since, until)."""

    since_ms: int | None = None
    until_ms: int | None = None
    type: EntryType | None = None
    verdict: Verdict | None = None
    reason: Reason | None = None
    flow: str | None = None
    recipient: str | None = None
    department: str | None = None
    """It received, or it acted: a recipient's name or a journal entry's department."""
    agreement: str | None = None
    """``id@version``, or an id for all of its versions."""
    ident: bytes | None = None

    def matches(self, entry: Entry) -> bool:
        """Whether the entry is wanted."""
        return self.in_time(entry.time_ms) and self.ident in (None, entry.ident) and self.fits(entry)

    def fits(self, shape: Shape | Entry) -> bool:
        """Whether entries of this shape, or with the shape of this one, are wanted; when and which is asked apart."""
        return (
            self.type in (None, shape.type)
            and self.verdict in (None, shape.verdict)
            and self.reason in (None, shape.reason)
            and self.flow in (None, shape.flow)
            and self.recipient in (None, shape.recipient)
            and self.department in (None, shape.recipient, shape.department)
            and (self.agreement is None or any(map(self._is_agreement, shape.agreements or ())))
        )

    def in_time(self, time_ms: int) -> bool:
        """Whether a time is within the bounds."""
        return (self.since_ms is None or time_ms >= self.since_ms) and (
            self.until_ms is None or time_ms < self.until_ms
        )

    def plain(self) -> dict[str, str]:
        """Return what is asked for as JSON has it; bounds that every time is within are left out."""
        said = {name: str(value) for name in _NAMES if (value := getattr(self, name)) is not None}
        if self.since_ms is not None and self.since_ms > 0:
            said["since"] = _bound(self.since_ms)
        if self.until_ms is not None and self.until_ms <= TIME_MS_MAX:
            said["until"] = _bound(self.until_ms)
        if self.ident is not None:
            said["id"] = self.ident.hex()
        return said

    @classmethod
    def of_plain(cls, said: Mapping[str, str]) -> Self:
        """Read what `plain` wrote. Raises `Invalid`."""
        if unknown := said.keys() - {*_NAMES, "since", "until", "id"}:
            raise Invalid(f"nothing is selected by {min(unknown)!r}")
        try:
            return cls(
                since_ms=time_of(said["since"]) if "since" in said else None,
                until_ms=time_of(said["until"]) if "until" in said else None,
                type=EntryType(said["type"]) if "type" in said else None,
                verdict=Verdict(said["verdict"]) if "verdict" in said else None,
                reason=Reason(said["reason"]) if "reason" in said else None,
                ident=bytes.fromhex(said["id"]) if "id" in said else None,
                **{name: said[name] for name in _TEXTS if name in said},
            )
        except (ValueError, TypeError):
            raise Invalid("the selection holds a value that no entry has") from None

    def may_match(self, raw: bytes) -> bool:
        """Whether the canonical bytes of an entry do not tell already that it is not wanted."""
        return all(part in raw for part in self._parts) and self._in_time_text(raw)

    def _is_agreement(self, named: str) -> bool:
        return named == self.agreement or named.partition("@")[0] == self.agreement

    @cached_property
    def _parts(self) -> tuple[bytes, ...]:
        return tuple(self._spelt())

    def _spelt(self) -> Iterator[bytes]:
        for name in ("type", "verdict", "reason", "flow", "recipient"):
            value = getattr(self, name)
            if value is not None:
                yield f'"{name}":"{value}"'.encode()
        if self.department is not None:
            yield f'"{self.department}"'.encode()
        if self.agreement is not None:
            yield f'"{self.agreement}{"" if "@" in self.agreement else "@"}'.encode()
        if self.ident is not None:
            yield b'"%s"' % self.ident.hex().encode()

    def _in_time_text(self, raw: bytes) -> bool:
        """RFC 3339 in UTC with three digits sorts as time does."""
        if self.since_ms is None and self.until_ms is None:
            return True
        at = raw.find(_TIME) + len(_TIME)
        since, until = self._bounds
        text = raw[at : at + _TIME_CHARS]
        return since <= text and (until is None or text < until)

    @cached_property
    def _bounds(self) -> tuple[bytes, bytes | None]:
        since = b"" if self.since_ms is None else _bound(self.since_ms).encode()
        return since, None if self.until_ms is None else _bound(self.until_ms).encode()


_TEXTS = ("flow", "recipient", "department", "agreement")
_NAMES = ("type", "verdict", "reason", *_TEXTS)


def _bound(time_ms: int) -> str:
    """Spell a bound as an entry would. No entry is before 1970, or after the last year."""
    return time_text(min(max(time_ms, 0), TIME_MS_MAX))


EVERYTHING = Selection()
