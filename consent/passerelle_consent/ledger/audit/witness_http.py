"""A witness over HTTP: `add-checkpoint` for logs, and for monitors what it cosigned last (C2SP tlog-witness)."""

from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from passerelle_consent.ledger.audit.witness import PLAIN, REQUEST_BYTES_MAX, Witness
from passerelle_consent.ledger.faults import Invalid, Unclear


def application(witness: Witness) -> Starlette:
    """Return the ASGI application, at the root of its address: submission and monitoring prefix in one."""

    async def add_checkpoint(request: Request) -> Response:
        body = await _body(request)
        if body is None:
            return Response("a request is not as long as that\n", status_code=413, media_type=PLAIN)
        try:
            reply = await run_in_threadpool(witness.add, body)
        except (Invalid, Unclear):  # of what is kept: whoever runs the witness must look
            return Response("this witness cannot tell what it cosigned last\n", status_code=500, media_type=PLAIN)
        return Response(reply.body, status_code=reply.status, headers={"Content-Type": reply.type})

    async def latest(request: Request) -> Response:
        note = await run_in_threadpool(witness.latest, request.path_params["origin"])
        if note is None:
            return Response("no checkpoint of such a log was cosigned\n", status_code=404, media_type=PLAIN)
        return Response(note, media_type=PLAIN)

    async def key(_: Request) -> Response:
        return Response(f"{witness.cosigner.key.encode()}\n", media_type=PLAIN)

    routes: list[Any] = [
        Route("/add-checkpoint", add_checkpoint, methods=["POST"]),
        Route("/{origin}/checkpoint", latest, methods=["GET"]),
        Route("/vkey", key, methods=["GET"]),
    ]
    return Starlette(routes=routes)


async def _body(request: Request) -> bytes | None:
    """Read the body; None when it is longer than any request."""
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > REQUEST_BYTES_MAX:
            return None
    return bytes(data)
