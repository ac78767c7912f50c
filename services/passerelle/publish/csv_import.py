"""Publish a CSV file: every row that can be read becomes an event, every other is named by row and column."""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

from passerelle.publish.mapping import CellProblem, CsvMapping
from passerelle.publish.outgoing import Outgoing, Prepared, PublishFault
from passerelle.publish.producer import Placed
from passerelle.publish.rows import BrokenOff, Rejected, Row, read_rows
from passerelle.publish.subjects import Subjects

BATCH_ROWS = 500
"""Rows read, linked and sent together: as many as one call to the identity register takes."""

Item = TypeVar("Item")


class Publishes(Protocol):
    """What `passerelle.publish.producer.DepartmentProducer` does."""

    def prepare(self, outgoing: Outgoing, *, tag: int = 0) -> Prepared:
        """Check against the contract. Raises `PublishFault`."""

    def publish_all(self, events: Iterable[Prepared]) -> AsyncIterator[Placed]:
        """Yield the places of the events, in their order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """A row that became an event."""

    row: int
    topic: str
    partition: int
    offset: int


Outcome = Published | Rejected | BrokenOff
Complete = Callable[[Mapping[str, str], dict[str, Any]], Mapping[str, Any]]
"""(cells of the row, the value that the mapping made) → the value to publish: what the file itself does not hold."""


@dataclass(kw_only=True)
class Tally:
    """Counts outcomes. ``input_rows`` are the rows met; of a broken file, those before the break."""

    input_rows: int = 0
    published: int = 0
    rejected: int = 0
    broken: BrokenOff | None = None
    shown: list[Rejected] = field(default_factory=list)
    next_row: int = 0
    """After the last row that was published: all before it went, or were told. Some after it may be on their way."""

    SHOWN_MAX = 10
    """Rejected rows kept to be shown; the report file has them all."""

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        if isinstance(outcome, BrokenOff):
            self.broken = outcome
            return
        self.input_rows += 1
        if isinstance(outcome, Published):
            self.published += 1
            self.next_row = outcome.row + 1
            return
        self.rejected += 1
        if len(self.shown) < self.SHOWN_MAX:
            self.shown.append(outcome)

    @property
    def all_went(self) -> bool:
        """Whether every row of the file was published."""
        return self.broken is None and self.rejected == 0


@dataclass(frozen=True, kw_only=True)
class CsvImport:
    """One file, how to read it, and under which publication.

    A publication's name makes the event ids: the same name repeats the same events, another one publishes anew.
    """

    path: Path
    mapping: CsvMapping
    publication: str
    now: Callable[[], datetime]
    complete: Complete | None = None
    from_row: int = 0
    """Rows before it are passed over: where an import that broke off goes on (`Tally.next_row`)."""

    async def run(self, producer: Publishes, subjects: Subjects) -> AsyncIterator[Outcome]:
        """Publish, yielding one outcome a row; of each batch those that do not go first, then the published in order.

        Raises `CsvFault`, `PublishFault` (the broker), `LinkFault`.
        """
        read = read_rows(self.path, self.mapping.columns(), self.mapping.delimiter)
        rows = (r for r in read if isinstance(r, BrokenOff) or _number(r) >= self.from_row)
        for batch in _batches(rows, BATCH_ROWS):
            readable = [r for r in batch if isinstance(r, Row)]
            stopped = [r for r in batch if isinstance(r, Rejected)]
            prepared: list[Prepared] = []
            for result in self._prepare(producer, readable, await subjects.find([r.cells for r in readable])):
                if isinstance(result, Rejected):
                    stopped.append(result)
                else:
                    prepared.append(result)
            for outcome in sorted(stopped, key=lambda o: o.row):
                yield outcome
            async for p in producer.publish_all(prepared):
                yield Published(row=p.tag, topic=p.topic, partition=p.partition, offset=p.offset)
            for broken in (r for r in batch if isinstance(r, BrokenOff)):
                yield broken

    def _prepare(
        self, producer: Publishes, rows: Sequence[Row], found: Sequence[bytes | CellProblem]
    ) -> Iterator[Prepared | Rejected]:
        for row, subject in zip(rows, found, strict=True):
            if isinstance(subject, CellProblem):
                yield Rejected(row=row.number, column=subject.column, problem=subject.problem)
            else:
                yield self._event(producer, row, subject)

    def _event(self, producer: Publishes, row: Row, subject: bytes) -> Prepared | Rejected:
        try:
            value: Mapping[str, Any] = self.mapping.value(row.cells)
            time = self.mapping.instant(row.cells, self.now())
            if self.complete is not None:
                value = self.complete(row.cells, dict(value))
            outgoing = Outgoing(
                type=self.mapping.event,
                pseudonym=subject,
                value=value,
                event_id=event_id(self.publication, row.number),
                time=time,
            )
            return producer.prepare(outgoing, tag=row.number)
        except CellProblem as exc:
            return Rejected(row=row.number, column=exc.column, problem=exc.problem)
        except PublishFault as exc:
            return Rejected(row=row.number, column=self._column_named_in(exc.what), problem=exc.what)

    def _column_named_in(self, problem: str) -> str | None:
        """Return the column behind the field that a contract's complaint names."""
        return next((c.column for name, c in self.mapping.fields.items() if f"field {name} " in f"{problem} "), None)


def event_id(publication: str, row: int) -> str:
    """Return 32 hexadecimal digits: the same for the same publication and row."""
    return hashlib.sha256(f"passerelle/csv\n{publication}\n{row}".encode()).hexdigest()[:32]


def _number(row: Row | Rejected) -> int:
    return row.number if isinstance(row, Row) else row.row


def _batches(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    while batch := list(islice(items, size)):
        yield batch
