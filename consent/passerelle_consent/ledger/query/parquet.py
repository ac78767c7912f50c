"""Entries as a Parquet file, by Apache Arrow: for whoever counts with DuckDB, pandas or R. The extra `parquet`."""

from collections.abc import Iterator, Sequence
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from passerelle_consent.ledger.faults import Invalid
from passerelle_consent.ledger.log.entries import time_of, time_text
from passerelle_consent.ledger.query.formats import COLUMNS, Row, row_of, values_of

GROUP_ROWS = 1 << 14
"""Of a row group: some 5 MB of memory, and written in some 15 ms, in which no other thread of a service runs."""

BATCH_ROWS = 4_096

_NAMES = pa.dictionary(pa.int32(), pa.string())
_TYPES = {
    "index": pa.int64(),
    "time": pa.timestamp("ms", tz="UTC"),
    "agreements": pa.list_(pa.string()),
    **dict.fromkeys(("type", "verdict", "reason", "flow", "recipient", "purpose", "department", "policy"), _NAMES),
}
SCHEMA = pa.schema([pa.field(name, _TYPES.get(name, pa.string())) for name in COLUMNS])
_TIME = COLUMNS.index("time")


class Parquet:
    """Writes row groups, compressed by Zstandard."""

    def __init__(self, file: IO[bytes]) -> None:
        self._writer = pq.ParquetWriter(file, SCHEMA, compression="zstd")
        self._group: list[pa.RecordBatch] = []

    def write(self, rows: Sequence[Row]) -> None:
        """Write some rows: once there is a group of them."""
        lines = [values_of(row) for row in rows]
        for line in lines:
            line[_TIME] = time_of(line[_TIME])
        columns = [pa.array(values, SCHEMA.types[n]) for n, values in enumerate(zip(*lines, strict=True))]
        if columns:
            self._group.append(pa.record_batch(columns, schema=SCHEMA))
        if sum(batch.num_rows for batch in self._group) >= GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        """Write what is left, and the file's footer."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._group:
            self._writer.write_table(pa.Table.from_batches(self._group).unify_dictionaries())
        self._group = []


def read_parquet(file: IO[bytes]) -> Iterator[Row]:
    """Raises `Invalid`."""
    try:
        opened = pq.ParquetFile(file)
        if opened.schema_arrow.names != list(COLUMNS):
            raise Invalid("its columns are not those of an export")
        for batch in opened.iter_batches(BATCH_ROWS):
            yield from map(_row, batch.set_column(_TIME, "time", batch["time"].cast(pa.int64())).to_pylist())
    except (pa.ArrowException, OSError, TypeError, ValueError):
        raise Invalid("is no Parquet file of entries") from None


def _row(values: dict[str, Any]) -> Row:
    return row_of({**values, "time": time_text(values["time"])})
