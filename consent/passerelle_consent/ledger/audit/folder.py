"""A published log in a folder."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from passerelle_consent.ledger.audit.published import CHECKPOINT, Absent, Opener, PublishedLog
from passerelle_consent.ledger.faults import Invalid, Unclear
from passerelle_consent.ledger.log.checkpoint import Checkpoint
from passerelle_consent.ledger.log.note import Verifier


class LogFolder(PublishedLog):
    """The files of one log in a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.where = str(path)

    def read(self, name: str, bytes_max: int) -> bytes:
        """Read a file of the folder."""
        try:
            with (self.path / name).open("rb") as file:
                # Python sets aside as much as is asked for, whatever there is.
                data = file.read(min(os.fstat(file.fileno()).st_size, bytes_max) + 1)
        except (FileNotFoundError, NotADirectoryError):
            raise Absent("is missing", where=name) from None
        except OSError as exc:
            raise Unclear(f"cannot be read ({exc.strerror})", where=name) from None
        if len(data) > bytes_max:
            raise Invalid("is longer than any file of a log", where=name)
        return data

    def checkpoint(self, verifier: Verifier) -> tuple[Checkpoint, bytes]:
        """Open the checkpoint; say when it is the folder that is missing."""
        if not self.path.is_dir():
            raise Unclear("no such folder", where=self.where, hint="name the folder that holds the checkpoint")
        return super().checkpoint(verifier)

    def published_s(self) -> float | None:
        """When the checkpoint's file was last written, or touched by an integrator that had nothing to add."""
        try:
            return (self.path / CHECKPOINT).stat().st_mtime
        except OSError:
            return None

    def opener(self) -> Opener:
        """A folder is opened anywhere."""
        return partial(LogFolder, self.path.absolute())

    def names(self) -> Iterator[str]:
        """Yield the relative path of every file, in order. Raises `Unclear` for a folder that cannot be listed."""
        yield from self._names("")

    def _names(self, prefix: str) -> Iterator[str]:
        try:
            with os.scandir(self.path / prefix) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except FileNotFoundError:
            return  # a folder of partial tiles that the publisher has just taken away
        except OSError as exc:
            raise Unclear(f"cannot be listed ({exc.strerror})", where=prefix or self.where) from None
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from self._names(f"{prefix}{entry.name}/")
            else:
                yield prefix + entry.name
