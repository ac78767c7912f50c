"""A history: all that one run did and saw, in one file that a judge can judge alone.

JSON Lines, gzipped when the name ends in ``.gz``. The first line is an object that names the run and the columns of
each kind of line; every other line is an array ``[kind, column, column, …]``. Offsets are Kafka's; subject refs, ids
and digests are hexadecimal; values are base 64. What a run must leave, by kind, is said at each class below.
"""

import gzip
import json
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

VERSION = 1


class Incomplete(Exception):
    """The file is no history, or the end of it is missing: nothing can be told from it."""


class Policy(NamedTuple):
    """A policy bundle that was in force, as its canonical document."""

    digest: str
    document: dict[str, Any]


class Subject(NamedTuple):
    """A linked subject, and what each recipient calls it."""

    ref: str
    pseudonyms: dict[str, str]


class Sent(NamedTuple):
    """A proposal that the broker acknowledged; copies and replays have lines of their own."""

    origin: str | None
    partition: int
    offset: int


class Exchange(NamedTuple):
    """A record of `exchange`, read back."""

    partition: int
    offset: int
    ref: str | None
    id: str | None
    flow: str | None
    origin: str | None
    type: str | None
    value: str | None


class Consent(NamedTuple):
    """A record of `consent`: a standing under a ref, or (ref None) a policy's digest."""

    partition: int
    offset: int
    ref: str | None
    policy: str | None
    standing: dict[str, Any] | None


class Give(NamedTuple):
    """A consent is about to be given: written down before the request is sent.

    ``end`` is the log end (read_uncommitted) of the recipient's inbox partition, noted before.
    """

    ref: str
    agreement: str
    recipient: str
    partition: int
    end: int


class Withdrawal(NamedTuple):
    """A withdrawal or an objection, once it was answered.

    ``acknowledged_ms`` is None when the answer never was an acknowledgement. ``lso`` (the read_committed end) and
    ``end`` (the read_uncommitted one) of the recipient's inbox partition were noted right after it, in this order.
    """

    ref: str
    agreement: str
    recipient: str
    partition: int
    action: str
    consent_offset: int | None
    asked_ms: int
    acknowledged_ms: int | None
    lso: int | None
    end: int | None


class Decided(NamedTuple):
    """One decision, read back (read_committed)."""

    partition: int
    offset: int
    id: str
    at_ms: int
    verdict: str
    reason: str
    flow: str | None
    withheld: list[str]
    ref: str | None
    origin: str | None
    policy: str


class Delivery(NamedTuple):
    """One record of an inbox, read back (read_committed), and what the broker's segment files say of it.

    ``marker`` is the offset of the control record that ended its transaction in this partition.
    """

    recipient: str
    partition: int
    offset: int
    key: str
    id: str
    flow: str
    decision: str
    purpose: str
    policy: str
    type: str
    value: str
    marker: int | None


class Position(NamedTuple):
    """The offsets of `exchange[i]` and `consent[i]` that one commit of the gate's group stored, in commit order.

    Read from the segment files of the broker's own topic of offsets. One that was not part of the commit is None.
    """

    partition: int
    exchange: int | None
    consent: int | None


class Fence(NamedTuple):
    """A marker of `fence`, read back (read_committed)."""

    partition: int
    offset: int
    applied: int
    worker: str


class Fault(NamedTuple):
    """What was done to a worker."""

    at_ms: int
    what: str
    worker: str


class End(NamedTuple):
    """The last line. ``committed[i]`` is the group's position on `exchange[i]`; ``drained``: all of it was decided."""

    drained: bool
    committed: dict[str, int]


KINDS: dict[str, type] = {
    kind.__name__.lower(): kind
    for kind in (
        Policy,
        Subject,
        Sent,
        Exchange,
        Consent,
        Give,
        Withdrawal,
        Decided,
        Delivery,
        Position,
        Fence,
        Fault,
        End,
    )
}
_NAMES = {kind: name for name, kind in KINDS.items()}


@dataclass(frozen=True, kw_only=True)
class Head:
    """The first line."""

    scenario: str
    seed: int
    partitions: int


class Recorder:
    """Writes a history. Its lines may come from any thread; each line is whole."""

    def __init__(self, path: Path, head: Head) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._lock = threading.Lock()
        self._file: IO[str] = gzip.open(path, "wt", 1) if path.suffix == ".gz" else path.open("w")  # noqa: SIM115
        columns = {name: list(kind._fields) for name, kind in KINDS.items()}
        self._line({"history": VERSION, **vars(head), "columns": columns})

    def write(self, *rows: NamedTuple) -> None:
        for row in rows:
            self._line([_NAMES[type(row)], *row])

    def close(self) -> None:
        self._file.close()

    def _line(self, content: Any) -> None:
        text = json.dumps(content, separators=(",", ":")) + "\n"
        with self._lock:
            self._file.write(text)


@dataclass(frozen=True, kw_only=True)
class History:
    """What was read: the rows of each kind in the order of the file."""

    head: Head
    rows: dict[type, list[Any]]
    story: list[Give | Withdrawal]
    """What was asked, in the order of the file: a citizen waits for each answer before the next request."""
    end: End

    def of(self, kind: type) -> list[Any]:
        return self.rows.get(kind, [])


def read(path: Path) -> History:
    """Raises `Incomplete`, `OSError`."""
    try:
        lines = _lines(path)
        head = _head(next(lines, None))
        rows = [KINDS[name](*columns) for name, *columns in lines]
    except (ValueError, KeyError, TypeError, EOFError) as exc:
        raise Incomplete(f"{path}: not a history: {type(exc).__name__}") from None
    return assembled(head, rows, str(path))


def assembled(head: Head, lines: Iterable[NamedTuple], where: str = "history") -> History:
    """Raises `Incomplete` when the last line, or what every run leaves, is missing."""
    rows: dict[type, list[Any]] = {}
    story = []
    for line in lines:
        rows.setdefault(type(line), []).append(line)
        if isinstance(line, Give | Withdrawal):
            story.append(line)
    for kind in (End, Policy, Consent, Exchange, Position):
        if kind not in rows:
            raise Incomplete(f"{where}: no line of kind {_NAMES[kind]}")
    return History(head=head, rows=rows, story=story, end=rows[End][-1])


def _lines(path: Path) -> Iterator[Any]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        for line in file:
            yield json.loads(line)


def _head(line: Any) -> Head:
    if not isinstance(line, dict) or line["history"] != VERSION:
        raise ValueError
    for name, kind in KINDS.items():
        if line["columns"][name] != list(kind._fields):
            raise ValueError
    return Head(scenario=line["scenario"], seed=line["seed"], partitions=line["partitions"])
