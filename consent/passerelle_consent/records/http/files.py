"""The log's files as tlog-tiles has them: what a verifier, a witness or a monitor reads, with anybody's tools.

The checkpoint and the hashes are for everybody: that nothing was taken back can be checked without reading anything.
What the entries say is for auditors. A city that serves its folder by a web server of its own keeps it so.
"""

import asyncio
import gzip
from base64 import b64encode
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from passerelle_consent.records import problems
from passerelle_consent.records.http.access import GuardedRoute
from passerelle_consent.records.http.answers import refuses
from passerelle_consent.records.http.bodies import maybe_rfc3339, rfc3339
from passerelle_consent.records.http.calls import records_of
from passerelle_consent.records.http.ledger import told
from passerelle_consent.records.log import Signature, Signed
from passerelle_consent.records.problems import Problem

FRESH = "public, max-age=1"
"""A checkpoint is a second old at most (tlog-tiles, "Checkpoints": no longer than a few seconds)."""

FOR_EVER = "max-age=31536000, immutable"
"""A tile never changes: a partial one has its width in its name."""

GZIP_LEVEL = 1
"""A bundle of 128 KB in some 2 ms, to a third: most of it is hashes."""

_NUMBER = r"(x[0-9]{3}/){0,6}[0-9]{3}(\.p/[1-9][0-9]{0,2})?"
Level = Annotated[int, Path(ge=0, le=63, description="`<L>` of tlog-tiles.")]
Number = Annotated[str, Path(pattern=rf"^{_NUMBER}$", description="`<N>[.p/<W>]` of tlog-tiles.")]

router = APIRouter(route_class=GuardedRoute)


class SignatureOut(BaseModel):
    """Who signed. `checked` is true where it was: by the log, or by a witness that the city knows.

    Whoever trusts no city holds the signatures in `note` against the keys that they have from elsewhere.
    """

    name: str
    key_id: str
    at: str | None
    checked: bool

    @classmethod
    def of(cls, signature: Signature) -> Self:
        """Write it out."""
        return cls(
            name=signature.name,
            key_id=signature.key_id.hex(),
            at=maybe_rfc3339(signature.at_ms),
            checked=signature.checked,
        )


class CheckpointOut(BaseModel):
    """The signed head of the log: its size, its root in base64, and who signed it. `note` is what is signed.

    `vkey` is the log's verifier key as the city says it: whoever trusts no city has it from elsewhere, and compares.
    """

    origin: str
    size: int
    root: str
    published_at: str
    signatures: list[SignatureOut]
    note: str
    vkey: str

    @classmethod
    def of(cls, signed: Signed) -> Self:
        """Write it out."""
        return cls(
            origin=signed.origin,
            size=signed.size,
            root=b64encode(signed.root).decode(),
            published_at=rfc3339(signed.published_ms),
            signatures=[SignatureOut.of(signature) for signature in signed.signatures],
            note=signed.note,
            vkey=signed.vkey,
        )


@router.get("/v1/ledger/checkpoint")
@refuses(problems.LEDGER_UNAVAILABLE, problems.OVERLOADED)
async def current(request: Request, response: Response) -> CheckpointOut:
    """Show the checkpoint, with the witnesses that cosigned it."""
    response.headers["Cache-Control"] = FRESH
    return CheckpointOut.of(await records_of(request).from_log(lambda log: log.checkpoint()))


@router.get("/checkpoint", response_class=PlainTextResponse)
@refuses(problems.LEDGER_UNAVAILABLE, problems.OVERLOADED, problems.NOT_FOUND)
async def checkpoint(request: Request) -> PlainTextResponse:
    """Return the checkpoint, a signed note (C2SP tlog-checkpoint)."""
    return PlainTextResponse(await _file(request, "checkpoint"), headers={"Cache-Control": FRESH})


class Bytes(Response):
    """A file of bytes."""

    media_type = "application/octet-stream"


@router.get("/tile/entries/{number:path}", response_class=Bytes, dependencies=[Depends(told)])
@refuses(problems.LEDGER_UNAVAILABLE, problems.OVERLOADED, problems.NOT_FOUND)
async def bundle(request: Request, number: Number) -> Bytes:
    """Return a bundle of entries (C2SP tlog-tiles)."""
    data = await _file(request, f"tile/entries/{number}")
    headers = {"Cache-Control": f"private, {FOR_EVER}", "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        packed = await asyncio.to_thread(gzip.compress, data, GZIP_LEVEL, mtime=0)
        return Bytes(packed, headers={**headers, "Content-Encoding": "gzip"})
    return Bytes(data, headers=headers)


@router.get("/tile/{level}/{number:path}", response_class=Bytes)
@refuses(problems.LEDGER_UNAVAILABLE, problems.OVERLOADED, problems.NOT_FOUND)
async def tile(request: Request, level: Level, number: Number) -> Bytes:
    """Return a tile of hashes (C2SP tlog-tiles)."""
    return Bytes(await _file(request, f"tile/{level}/{number}"), headers={"Cache-Control": f"public, {FOR_EVER}"})


async def _file(request: Request, name: str) -> bytes:
    """Return a file. Raises `Problem`."""
    data = await records_of(request).from_log(lambda log: log.file(name))
    if data is None:
        raise Problem(problems.NOT_FOUND)
    return data
