"""Files that a reader sees whole or not at all, and that are on disk before anything tells of them."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

WRITERS = 8
"""Files that are waited for at once. A file system writes its journal for many waiting files as for one."""

File: TypeAlias = tuple[str, bytes]
"""Path within the folder, and content."""


@dataclass(frozen=True, slots=True)
class Files:
    """A folder, and beside it on the same file system one for drafts.

    Paths are texts: of hundreds of files at once, each `Path` would cost as much as the writing.
    """

    folder: str
    drafts: str

    def write(self, files: Sequence[File]) -> None:
        """Write files, and sync the folders that they are in. Raises `OSError`."""
        with ThreadPoolExecutor(WRITERS, thread_name_prefix="ledger-files") as writers:
            changed = {Path(parent) for parent in writers.map(self.replace, files)}
            touched = {self.folder / parent for folder in changed for parent in (folder, *folder.parents)}
            list(writers.map(sync, touched))

    def replace(self, file: File) -> str:
        """Write one file, without its folder; return the folder's path within this one. Raises `OSError`."""
        name, data = file
        draft, path, parent = self.draft(name, data), f"{self.folder}/{name}", name.rpartition("/")[0]
        try:
            os.replace(draft, path)  # noqa: PTH105 - no `Path`, as above
        except FileNotFoundError:
            Path(self.folder, parent).mkdir(parents=True, exist_ok=True)
            os.replace(draft, path)  # noqa: PTH105 - as above
        return parent

    def draft(self, name: str, data: bytes) -> str:
        """Write a draft and return its path. Raises `OSError`."""
        draft = f"{self.drafts}/{name.replace('/', '-')}"
        # The system's own calls: `open` makes four more, and after each a thread waits for the interpreter.
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return draft


def sync(folder: Path | str) -> None:
    """Have a folder's names on disk. Raises `OSError`."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
