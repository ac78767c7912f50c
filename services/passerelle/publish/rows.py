"""Read a CSV file row by row: what cannot be read is named by row and column, and the rest goes on."""

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from passerelle_schemas.faults import Fault

GZIP_MAGIC = b"\x1f\x8b"
HEADER_ROW = 1


class CsvFault(Fault):
    """The file as a whole cannot be used, so that nothing of it was published."""

    exit_code = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row; ``number`` is the line on which it begins, the header being line 1."""

    number: int
    cells: dict[str, str] = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejected:
    """A row that was not published: where and why, never what stood there."""

    row: int
    column: str | None
    problem: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BrokenOff:
    """The file cannot be read from this row on."""

    row: int
    problem: str


def read_rows(path: Path, columns: Sequence[str], delimiter: str = ",") -> Iterator[Row | Rejected | BrokenOff]:
    """Yield every row with at least ``columns``, streaming, plain or gzip.

    Bytes that are not UTF-8 spoil their row alone. A gzip stream that breaks gives the whole rows before the break and
    ends with `BrokenOff`. Raises `CsvFault` for a file without the columns.
    """
    with _open(path) as text:
        yield from _Reader(path, text, columns, delimiter).rows()


def _open(path: Path) -> TextIO:
    try:
        with path.open("rb") as raw:
            zipped = raw.read(len(GZIP_MAGIC)) == GZIP_MAGIC or path.suffix == ".gz"
    except OSError as exc:
        raise Fault(f"cannot be read: {exc.strerror}", where=str(path)) from None
    # surrogateescape keeps a bad byte recognisable in its cell, where strict decoding would lose the file.
    if zipped:
        return gzip.open(path, "rt", encoding="utf-8", errors="surrogateescape", newline="")
    return path.open(encoding="utf-8", errors="surrogateescape", newline="")


class _Reader:
    def __init__(self, path: Path, text: TextIO, columns: Sequence[str], delimiter: str) -> None:
        self._path = path
        self._reader = csv.reader(text, delimiter=delimiter, strict=True)
        self._columns = columns
        self._header: list[str] = []

    def rows(self) -> Iterator[Row | Rejected | BrokenOff]:
        try:
            self._read_header()
        except (EOFError, gzip.BadGzipFile, zlib.error) as exc:
            raise CsvFault(f"row {HEADER_ROW}: {_gzip_problem(exc)}", where=str(self._path)) from None
        while True:
            number = self._reader.line_num + 1
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except csv.Error:
                yield Rejected(row=number, column=None, problem=self._quote_problem(number))
            except (EOFError, gzip.BadGzipFile, zlib.error) as exc:
                yield BrokenOff(row=number, problem=_gzip_problem(exc))
                return
            else:
                if cells:
                    yield self._row(number, cells)

    def _read_header(self) -> None:
        header = next(self._reader, None)
        if not header:
            raise CsvFault("is empty", where=str(self._path))
        self._header = [name.removeprefix("\ufeff").strip() for name in header]
        missing = [c for c in self._columns if c not in self._header]
        if missing:
            raise CsvFault(f"row {HEADER_ROW}, column {missing[0]}: is missing", where=str(self._path))

    def _row(self, number: int, cells: list[str]) -> Row | Rejected:
        if len(cells) > len(self._header):
            return Rejected(row=number, column=None, problem=f"has {len(cells)} cells, the header {len(self._header)}")
        if len(cells) < len(self._header):
            return Rejected(row=number, column=self._header[len(cells)], problem="is missing")
        for name, cell in zip(self._header, cells, strict=True):
            if not _is_utf8(cell):
                return Rejected(row=number, column=name, problem="is not UTF-8")
        return Row(number=number, cells=dict(zip(self._header, cells, strict=True)))

    def _quote_problem(self, first: int) -> str:
        last = self._reader.line_num
        lines = f"lines {first} to {last} were" if last > first else "it was"
        return f"is not CSV, a quote is out of place: {lines} passed over"


def _is_utf8(cell: str) -> bool:
    if cell.isascii():
        return True
    try:
        cell.encode()
    except UnicodeEncodeError:
        return False
    return True


def _gzip_problem(exc: Exception) -> str:
    return "the gzip file breaks off" if isinstance(exc, EOFError) else "the gzip file is damaged"
