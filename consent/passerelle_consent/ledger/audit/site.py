"""A published log behind http(s): any web server or object store that serves its files."""

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from functools import partial

import httpx

from passerelle_consent.ledger.audit.published import CHECKPOINT, Absent, Opener, PublishedLog
from passerelle_consent.ledger.faults import Invalid, Unclear

TIMEOUT_S = 10.0
TRIES_MAX = 3
"""A server that restarts, or a connection that it has closed: a reading of thousands of files outlasts that."""
PAUSE_S = 0.5
"""Before another try, doubled at each."""


class LogSite(PublishedLog):
    """The files of one log under an address, read over one connection that is kept open."""

    def __init__(
        self,
        address: str,
        *,
        transport: httpx.BaseTransport | None = None,
        bearer: str | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """``bearer``: a token for logs whose bundles are for auditors only. Raises `Unclear` for no http(s) address."""
        self.where = address.rstrip("/")
        self._pause = pause
        # A transport is of this process alone.
        self._opener = partial(LogSite, self.where, bearer=bearer) if transport is None else None
        headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        base = base_of(self.where)
        self._client = httpx.Client(base_url=base, transport=transport, timeout=TIMEOUT_S, headers=headers)

    def read(self, name: str, bytes_max: int) -> bytes:
        """Fetch a file. A server that does not answer, or answers 5xx, is asked again, `TRIES_MAX` times in all."""
        for tried in range(1, TRIES_MAX + 1):
            try:
                return self._fetch(name, bytes_max)
            except _Again as again:
                if tried == TRIES_MAX:
                    raise Unclear(f"cannot be read ({again})", where=name) from None
                self._pause(PAUSE_S * 2 ** (tried - 1))
        raise AssertionError

    def published_s(self) -> float | None:
        """When the server says that the checkpoint was last modified (RFC 9110, 8.8.2)."""
        try:
            answer = self._client.head(CHECKPOINT)
            return parsedate_to_datetime(answer.headers["last-modified"]).timestamp()
        except (httpx.TransportError, KeyError, ValueError):
            return None

    def opener(self) -> Opener | None:
        """Another process has a connection of its own."""
        return self._opener

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _fetch(self, name: str, bytes_max: int) -> bytes:
        try:
            with self._client.stream("GET", name) as answer:
                _check(answer, name)
                data = bytearray()
                for part in answer.iter_bytes():
                    data += part
                    if len(data) > bytes_max:
                        raise Invalid("is longer than any file of a log", where=name)
        except (httpx.TransportError, httpx.DecodingError) as exc:
            raise _Again(type(exc).__name__) from None
        return bytes(data)


def base_of(address: str) -> httpx.URL:
    """Return an http(s) address to which names are appended. Raises `Unclear`."""
    try:
        base = httpx.URL(f"{address.rstrip('/')}/")
    except httpx.InvalidURL:
        base = httpx.URL()
    if base.scheme not in ("http", "https") or not base.host:
        raise Unclear("not an http(s) address", where=address)
    return base


class _Again(Exception):
    """No answer, or none that means anything."""


def _check(answer: httpx.Response, name: str) -> None:
    if answer.status_code in (httpx.codes.NOT_FOUND, httpx.codes.GONE):
        raise Absent("is missing", where=name)
    if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise Unclear(
            f"is not for everybody (HTTP {answer.status_code})", where=name, hint="a token: --token-file FILE"
        )
    if answer.is_server_error or answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
        raise _Again(f"HTTP {answer.status_code}")
    if answer.status_code != httpx.codes.OK:
        raise Unclear(f"cannot be read (HTTP {answer.status_code})", where=name)
