"""Files that are written together: all of them or none, and nothing that is there already is lost."""

import os
import tempfile
from collections.abc import Mapping
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
    written: list[Path] = []
    try:
        for path, text in {**new, **(changed or {})}.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(path, text)
            written.append(path)
    except OSError as exc:
        for path in written:
            if path in new:
                path.unlink(missing_ok=True)
        raise Fault(f"cannot be written: {exc.strerror}", where=str(exc.filename)) from None
    return written


def _replace(path: Path, text: str) -> None:
    """Whole or not at all."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
        file.write(text)
    Path(file.name).chmod(0o644)
    os.replace(file.name, path)  # noqa: PTH105 - atomic, as its documentation says
