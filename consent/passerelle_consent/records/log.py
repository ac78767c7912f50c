"""The whole log, as the service shows it to auditors: what is asked of it. The composition root passes the real one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from passerelle_consent.policy.decide import Reason, Verdict
from passerelle_consent.wire import JournalType

TYPES = ("decision", *(kind.value for kind in JournalType))
"""Of entries (DESIGN §8): a closed set."""

CountedBy = Literal["type", "verdict", "reason", "flow", "recipient", "department", "agreement"]
ExportFormat = Literal["jsonl", "csv", "parquet"]
CountedEvery = Literal["hour", "day", "month"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LogFilter:
    """Which entries are asked for: those of which all of this holds. Times are epoch milliseconds, [since, until)."""

    since_ms: int | None = None
    until_ms: int | None = None
    type: str | None = None
    verdict: Verdict | None = None
    reason: Reason | None = None
    flow: str | None = None
    recipient: str | None = None
    department: str | None = None
    """It received, or it acted."""
    agreement: str | None = None
    """``id@version``, or an id for all of its versions."""
    ident: bytes | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Logged:
    """One entry: its place in the log, and what it says, as it was hashed (RFC 8785)."""

    index: int
    entry: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnEntry:
    """An entry about a subject, opened: what it commits to besides."""

    index: int
    entry: Mapping[str, Any]
    private: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Extent:
    """How far an answer goes: the first ``indexed`` entries, of the ``size`` that are signed."""

    indexed: int
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """So many entries of this value, from this time on; no value where they have none."""

    start_ms: int
    value: str | None
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Tallies:
    """Counts between two times at which an hour, a day or a month of UTC begins."""

    every: CountedEvery
    since_ms: int
    until_ms: int
    counts: Sequence[Tally]


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """A line of the checkpoint's note: of the log itself, or of a witness that checked its consistency."""

    name: str
    key_id: bytes
    at_ms: int | None
    """When a witness signed, by its own word."""
    checked: bool
    """Whether it was checked here, and holds: the log's own, and those of the witnesses that the city asks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Signed:
    """The checkpoint that is published now."""

    origin: str
    size: int
    root: bytes
    published_ms: int
    signatures: Sequence[Signature]
    note: str
    vkey: str
    """The log's verifier key (C2SP signed-note)."""


class TooLong(Exception):
    """More than ``most`` hours, days or months were asked for."""

    def __init__(self, most: int) -> None:
        super().__init__(f"more than {most}")
        self.most = most


class TooMany(Exception):
    """More than ``most`` entries were to be exported."""

    def __init__(self, most: int) -> None:
        super().__init__(f"more than {most}")
        self.most = most


class ExportsBusy(Exception):
    """As many exports as there may be at a time are being written."""


class FormatUnavailable(Exception):
    """What writes this format is not installed."""


class PublishedLog(Protocol):
    """The published log. Called on a thread; all raise `LedgerAway`."""

    def entries(self, wanted: LogFilter, *, before: int | None, limit: int) -> tuple[Sequence[Logged], Extent]:
        """Return at most ``limit`` entries wanted, of those below index ``before``, newest first."""
        ...

    def counts(self, wanted: LogFilter, *, by: CountedBy, every: CountedEvery | None) -> tuple[Tallies, Extent]:
        """Count entries; by the shortest time that makes few of them unless ``every`` says. Raises `TooLong`."""
        ...

    def export(self, wanted: LogFilter, *, format_: ExportFormat, start: int, end: int | None) -> Iterator[bytes]:
        """Begin an archive of the entries wanted in [start, end), and their proof; the rest is written as it is taken.

        Raises `TooMany`, `ExportsBusy`, `FormatUnavailable`.
        """
        ...

    def checkpoint(self) -> Signed:
        """Return the checkpoint."""
        ...

    def file(self, name: str) -> bytes | None:
        """Return the published file of this name (tlog-tiles): None when there is none."""
        ...

    def proof(self, index: int) -> str | None:
        """Return the tlog-proof of an entry; None when there is none in what is signed."""
        ...
