"""Style sheets, scripts and fonts, as `assets/build.mjs` made them: each under its digest, kept for a year."""

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from passerelle_schemas.faults import Fault

BUILT = Path(__file__).parent / "static"
FOR_EVER = "public, max-age=31536000, immutable"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".woff2": "font/woff2",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_COMPRESSED = frozenset({".css", ".js", ".svg", ".txt"})

router = APIRouter()


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    content: bytes
    compressed: bytes | None
    media_type: str


class Assets:
    """All of them in memory: some 250 kB. What is not among them is not there."""

    def __init__(self, files: Mapping[str, _File], names: Mapping[str, str]) -> None:
        self._files = files
        self._names = names

    @classmethod
    def load(cls, folder: Path = BUILT) -> Self:
        """Read what was built. Raises `Fault`."""
        try:
            names: dict[str, str] = json.loads((folder / "names.json").read_bytes())
            files = {name: _file(folder / name) for name in sorted(p.name for p in folder.iterdir()) if _known(name)}
        except (OSError, ValueError):
            raise Fault("the pages' style sheets are not built", where=str(folder), hint="make pages") from None
        return cls(files, names)

    def url(self, name: str) -> str:
        """Where `site.css` is, under the name of this build. Raises `KeyError`."""
        return f"/assets/{self._names[name]}"

    def file(self, name: str) -> _File | None:
        """Return a file by its name of this build."""
        return self._files.get(name)


def _known(name: str) -> bool:
    return Path(name).suffix in _TYPES


def _file(path: Path) -> _File:
    content = path.read_bytes()
    compressed = gzip.compress(content, 9, mtime=0) if path.suffix in _COMPRESSED else None
    return _File(content=content, compressed=compressed, media_type=_TYPES[path.suffix])


@router.get("/assets/{name}")
async def asset(request: Request, name: str) -> Response:
    """Return one file."""
    assets: Assets = request.app.state.site.assets
    found = assets.file(name)
    if found is None:
        raise HTTPException(404)
    headers = {"Cache-Control": FOR_EVER, "Vary": "Accept-Encoding"}
    if found.compressed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(found.compressed, media_type=found.media_type, headers={**headers, "Content-Encoding": "gzip"})
    return Response(found.content, media_type=found.media_type, headers=headers)
