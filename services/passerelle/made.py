"""Files that are made out of others: written over when they are our own, and never when somebody else wrote them."""

from collections.abc import Mapping
from pathlib import Path

from passerelle_schemas.faults import Fault


class NotOurs(Fault):
    """A file stands there that was not made by this command."""


def differing(files: Mapping[Path, str]) -> list[Path]:
    """Which of them are not, on the disk, what they would be."""
    return [path for path, text in files.items() if not path.is_file() or path.read_bytes() != text.encode()]


def write_made(files: Mapping[Path, str], *, head: str) -> None:
    """Write all of them. ``head`` is what ours begin with. Raises `NotOurs` before anything is written; `Fault`."""
    for path in files:
        if path.exists() and path.stat().st_size and not path.read_bytes().startswith(head.encode()):
            raise NotOurs("is there already, and was not made by this command", where=str(path), hint="another folder?")
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise Fault(f"cannot be written: {exc.strerror}", where=str(exc.filename)) from None
