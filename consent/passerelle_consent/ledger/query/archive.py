"""An export as one archive that is written as it is sent: the rows, and their proof beside them."""

from collections.abc import Iterator
from typing import IO, cast
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from passerelle_consent.ledger.query.export import Export
from passerelle_consent.ledger.query.formats import Row

COMPRESS_LEVEL = 1
"""To a third, at 100 MB a second; more would save little, since most of it is hashes."""


class _Sent:
    """A file that is written and never read: what was written since the last look is taken away."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is kept back."""

    def take(self) -> bytes:
        taken, self._parts = b"".join(self._parts), []
        return taken


def archive(export: Export, rows: Iterator[Row]) -> Iterator[bytes]:
    """Yield a ZIP file of ``entries.<format>`` and ``entries.<format>.proof``. Raises `Invalid`, `Unclear`."""
    sent, name = _Sent(), f"entries.{export.format}"
    members = ((name, lambda file: export.write(rows, file)), (f"{name}.proof", export.prove))
    compression = ZIP_STORED if export.format == "parquet" else ZIP_DEFLATED
    with ZipFile(cast("IO[bytes]", sent), "w", compression, compresslevel=COMPRESS_LEVEL) as zipped:
        for member, write in members:
            with zipped.open(member, "w", force_zip64=True) as file:
                for _ in write(file):
                    yield sent.take()
    yield sent.take()
