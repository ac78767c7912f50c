"""Entries as rows of a file: JSON Lines and CSV. What is read back is the entry's own bytes, or no entry.

A row has an entry's place and all that it says, so that its canonical bytes, and with them its leaf, can be made again.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any, Protocol

from passerelle_consent.ledger.faults import Invalid
from passerelle_consent.ledger.log.canonical import canonical
from passerelle_consent.ledger.log.entries import VERSION

COLUMNS = (
    "index",
    "time",
    "type",
    "verdict",
    "reason",
    "flow",
    "recipient",
    "purpose",
    "department",
    "agreements",
    "policy",
    "decision",
    "id",
    "regarding",
    "digest",
    "component",
    "cause",
    "subject_commit",
    "body_commit",
)
LINE_BYTES_MAX = 1 << 17
"""Longer than any entry in either format."""

_LINE = re.compile(rb'{"entry":({.*}),"index":(0|[1-9][0-9]{0,18})}\n')

Row = tuple[int, bytes]
"""An entry's place, and its canonical bytes."""


class Writer(Protocol):
    """Writes rows to a file."""

    def write(self, rows: Sequence[Row]) -> None:
        """Write some rows."""
        ...

    def close(self) -> None:
        """Write what is still to be written. The file stays open."""
        ...


class JsonLines:
    """One object for each entry: the entry as it was hashed, and its index."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, rows: Sequence[Row]) -> None:
        """Write some rows."""
        self._file.write(b"".join(b'{"entry":%s,"index":%d}\n' % (raw, index) for index, raw in rows))

    def close(self) -> None:
        """Nothing is left."""


class Csv:
    """RFC 4180, with a header; agreements as a JSON array; empty is what the entry does not say."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._write([list(COLUMNS)])

    def write(self, rows: Sequence[Row]) -> None:
        """Write some rows."""
        self._write([[_cell(value) for value in values_of(row)] for row in rows])

    def close(self) -> None:
        """Nothing is left."""

    def _write(self, lines: Sequence[Sequence[object]]) -> None:
        text = io.StringIO()
        csv.writer(text).writerows(lines)
        self._file.write(text.getvalue().encode())


def read_json_lines(file: IO[bytes]) -> Iterator[Row]:
    """Raises `Invalid`."""
    for number, line in enumerate(iter(lambda: file.readline(LINE_BYTES_MAX), b""), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise Invalid(f"line {number} is no entry")
        yield int(match[2]), match[1]


def read_csv(file: IO[bytes]) -> Iterator[Row]:
    """Raises `Invalid`."""
    lines = csv.reader(io.TextIOWrapper(file, "utf-8", newline=""), strict=True)
    try:
        if next(lines, None) != list(COLUMNS):
            raise Invalid("its first line does not name the columns")
        for cells in lines:
            if len(cells) != len(COLUMNS):
                raise Invalid(f"line {lines.line_num} has {len(cells)} cells")
            yield row_of(dict(zip(COLUMNS, map(_value, COLUMNS, cells), strict=True)))
    except (csv.Error, ValueError):
        raise Invalid(f"line {lines.line_num} cannot be read") from None


def values_of(row: Row) -> list[Any]:
    """Return a row's values in the order of the columns; None where the entry says nothing."""
    index, raw = row
    read = {**json.loads(raw), "index": index}
    return [read.get(name) for name in COLUMNS]


def row_of(values: Mapping[str, Any]) -> Row:
    """Make a row of its values again."""
    said = {name: value for name, value in values.items() if value is not None}
    index = int(said.pop("index", -1))
    return index, canonical({"v": VERSION, **said})


def _cell(value: object) -> object:
    return json.dumps(value) if isinstance(value, list) else value


def _value(name: str, cell: str) -> object:
    if not cell:
        return None
    return json.loads(cell) if name == "agreements" else cell


WRITERS: Mapping[str, Callable[[IO[bytes]], Writer]] = {"jsonl": JsonLines, "csv": Csv}
READERS: Mapping[str, Callable[[IO[bytes]], Iterator[Row]]] = {"jsonl": read_json_lines, "csv": read_csv}
