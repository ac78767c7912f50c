"""The outermost layer: bounds a body before anybody reads it, and writes one canonical line for each request.

The line names the route's template, never the path (it holds a pseudonym), and never anything of a body.
"""

import asyncio
import time
import uuid
from collections.abc import Mapping
from typing import Any

import structlog
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from passerelle_consent.records import problems
from passerelle_consent.records.problems import MEDIA_TYPE, Problem

BODY_BYTES_MAX = 1_048_576
"""A thousand identities of the longest kind take a quarter of it."""

DRAIN_BYTES_MAX = 64 * 1_048_576
"""How much of a body too large is read and thrown away, so that its sender hears the answer and not a reset."""

BODY_S_MAX = 20.0
"""A megabyte over a poor line takes less; a sender that drips bytes is sent away."""

_log = structlog.get_logger("http")


class Edge:
    """ASGI middleware. Puts the request's id and, later, its problem into ``scope["state"]``."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other scopes pass."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"] = str(uuid.uuid4())
        status = 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_encoded(state.get("rate", {}))]
            await send(message)

        started = time.perf_counter()
        try:
            await self._serve(scope, receive, noting, state)
        except Exception as exc:
            _log.error("request failed", exc_info=exc, request_id=state["request_id"])
            if status:
                raise  # half an answer is out: the server cuts the connection
            await answer(Problem(problems.INTERNAL), state)(scope, receive, noting)
        finally:
            _log.info(
                "request",
                route=_template(scope),
                method=scope["method"],
                status=status,
                duration_ms=round((time.perf_counter() - started) * 1000, 1),
                problem=state.get("problem"),
                request_id=state["request_id"],
            )

    async def _serve(self, scope: Scope, receive: Receive, send: Send, state: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(BODY_S_MAX):
                body = await _read_body(receive)
        except TimeoutError:
            body = Problem(problems.BODY_TOO_SLOW)
        if body is None:
            return  # the client went away
        if isinstance(body, Problem):
            await answer(body, state)(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)


def answer(problem: Problem, state: dict[str, Any]) -> JSONResponse:
    """Return the problem as a response, and note it for the canonical line."""
    state["problem"] = problem.kind.slug
    return JSONResponse(
        problem.document(state["request_id"]),
        status_code=problem.kind.status,
        headers=problem.headers,
        media_type=MEDIA_TYPE,
    )


async def _read_body(receive: Receive) -> bytes | Problem | None:
    chunks: list[bytes] = []
    size = 0
    more = True
    while more and size <= DRAIN_BYTES_MAX:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunk: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(chunk)
        if size <= BODY_BYTES_MAX:
            chunks.append(chunk)
        else:
            chunks.clear()
    if size > BODY_BYTES_MAX:
        return Problem(problems.BODY_TOO_LARGE, bytes_max=BODY_BYTES_MAX)
    return b"".join(chunks)


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def _encoded(fields: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in fields.items()]


def _template(scope: Scope) -> str:
    route = scope.get("route")
    return getattr(route, "path_format", "unmatched")
