"""What every answer of the site carries, and what no request may do: ASGI, around all routes."""

from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES_MAX = 64 * 1024
"""Forms of words; nothing is uploaded."""


def content_security_policy(sign_in_origins: Sequence[str]) -> str:
    """Return the policy: nothing inline, nothing of others.

    ``sign_in_origins``: where signing out leads to; a browser counts that as the form's action.
    `data:` is for the icons within the design system's style sheet.
    """
    return "; ".join(
        (
            "default-src 'none'",
            "style-src 'self'",
            "script-src 'self'",
            "font-src 'self'",
            "img-src 'self' data:",
            "connect-src 'self'",
            " ".join(("form-action 'self'", *sign_in_origins)),
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )


class Edge:
    """Puts the security headers on every answer, and refuses bodies that are too long."""

    def __init__(self, app: ASGIApp, *, policy: str, https: bool) -> None:
        """``https``: whether the site is only reached so; then browsers are told to keep to it."""
        self._app = app
        self._headers = {
            "content-security-policy": policy,
            "referrer-policy": "same-origin",
            "x-content-type-options": "nosniff",
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
            "permissions-policy": "camera=(), geolocation=(), microphone=(), browsing-topics=()",
            **({"strict-transport-security": "max-age=31536000"} if https else {}),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                # A page says what somebody shares: no cache keeps it. What may be kept says so itself.
                headers.setdefault("cache-control", "no-store")
            await send(message)

        if _length(scope) > BODY_BYTES_MAX:
            refusal = PlainTextResponse("too long / trop long", status_code=413)
            await refusal(scope, receive, sent)
            return
        await self._app(scope, _bounded(receive), sent)


def _length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else BODY_BYTES_MAX + 1
    return 0


def _bounded(receive: Receive) -> Receive:
    """A body that does not say its length is cut where it is too long: the form is then not whole, and is refused."""
    taken = 0

    async def bounded() -> Message:
        nonlocal taken
        message = await receive()
        if message["type"] == "http.request":
            taken += len(message.get("body", b""))
            if taken > BODY_BYTES_MAX:
                return {"type": "http.disconnect"}
        return message

    return bounded
