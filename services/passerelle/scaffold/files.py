"""Files that are written together: all of them or none, and nothing that is there already is lost."""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from string import Template

from passerelle_schemas.faults import Fault


class Taken(Fault):
    """A file stands where a new one would."""

    exit_code = 1


def template(file: str, /, **words: str) -> str:
    """Fill a template in."""
    return Template(files("passerelle.scaffold").joinpath("templates", file).read_text("utf-8")).substitute(words)


def write(new: Mapping[Path, str], changed: Mapping[Path, str] | None = None) -> list[Path]:
    """Write ``new`` files, then replace the ``changed`` ones; return all, in that order. Raises `Taken`, `Fault`."""
    taken = [path for path in new if path.exists()]
    if taken:
        raise Taken("is there already, and stays as it is", where=str(taken[0]), hint="choose another name")
    before = {path: path.read_bytes() for path in changed or {}}
    folders = missing_folders(new)
    written: list[Path] = []
    try:
        for path, text in {**new, **(changed or {})}.items():
            written.append(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(path, text.encode())
    except BaseException as exc:  # Ctrl-C as well
        for path in written:
            if path in before:
                _replace(path, before[path])
        undo((path for path in written if path in new), folders)
        if isinstance(exc, OSError):
            raise Fault(f"cannot be written: {exc.strerror}", where=str(exc.filename)) from None
        raise
    return written


def missing_folders(paths: Iterable[Path]) -> list[Path]:
    """The folders that writing these would make, the deepest first."""
    missing = {folder for path in paths for folder in path.parents if not folder.exists()}
    return sorted(missing, key=lambda folder: len(folder.parts), reverse=True)


def undo(new: Iterable[Path], folders: Iterable[Path]) -> None:
    """Take new files away again, with those of the folders that are then empty."""
    for path in new:
        path.unlink(missing_ok=True)
    for folder in folders:
        with suppress(OSError):  # it was never made, or something else is in it
            folder.rmdir()


def _replace(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
