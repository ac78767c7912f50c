"""The consent service, as pages ask it: with the token of whoever looks; what is public is kept for a moment.

A page asks two to six things, fifty pages a second. So it is asked by aiohttp: a call costs 0.2 to 0.3 ms of processor
time, where HTTPX takes 1.5 ms, and 4 ms while twenty others are under way.
"""

import json
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp

from passerelle.issuer import Bearing

PUBLIC_KEPT_S = 5.0
"""So old a public answer may be: the portal is one address, and the service counts calls by address."""
PUBLIC_KEPT_MAX = 2_000
TOKENS_MAX = 20_000
TOKEN_KEPT_S = 300.0
"""A token lives for 15 minutes."""
TIMEOUT_S = 10.0
CHUNK_BYTES = 1 << 16
CONNECTIONS_MAX = 100
IDLE_S = 30.0
"""A connection is kept so long: less than the service keeps it (`cli.serving.KEEP_ALIVE_S`)."""


class ServiceAway(Exception):
    """The consent service does not answer, or does not answer as it should: nothing can be said, nothing was done."""


class Refused(Exception):
    """The service said no (RFC 9457): nothing was changed."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        super().__init__(f"{status} {document.get('type', '')}")
        self.status = status
        self.document = document

    @property
    def kind(self) -> str:
        """The last part of the problem's type: `illegal-transition`."""
        return str(self.document.get("type", "")).rpartition(":")[2]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the service said."""

    status: int
    body: Any
    etag: str | None = None
    next_cursor: str | None = None
    """Of the next page of a list, None on the last one."""
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Download:
    """A file that is on its way."""

    headers: Mapping[str, str]
    parts: AsyncIterator[bytes]
    close: Callable[[], Awaitable[None]]


def connections(url: str) -> aiohttp.ClientSession:
    """Return connections to the service at ``url``: a context manager, to be entered within a running loop."""
    return aiohttp.ClientSession(
        url,
        connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX, keepalive_timeout=IDLE_S),
        cookie_jar=aiohttp.DummyCookieJar(),  # one person's would be everybody's
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
        headers={"Accept-Encoding": "identity"},  # it is next door
    )


class ConsentService:
    """Asks the service. Every method raises `ServiceAway` and `Refused`."""

    def __init__(self, http: aiohttp.ClientSession, mint: Callable[[Bearing], str]) -> None:
        """``http`` has the service's address (`connections`); ``mint`` makes a token for whom it is given."""
        self._http = http
        self._mint = mint
        self._public: OrderedDict[str, tuple[float, Answer]] = OrderedDict()
        self._tokens: OrderedDict[tuple[Any, ...], tuple[float, str]] = OrderedDict()

    async def public(self, path: str, *, headers: Mapping[str, str] | None = None, **query: Any) -> Answer:
        """Read what needs no token. It may be `PUBLIC_KEPT_S` old. ``headers``: a form, a language."""
        asked = f"{path} {_present(query)} {sorted((headers or {}).items())}"
        held = self._public.get(asked)
        if held is not None and time.monotonic() - held[0] < PUBLIC_KEPT_S:
            return held[1]
        answer = await self._ask("GET", path, query=query, headers=headers)
        self._public[asked] = time.monotonic(), answer
        while len(self._public) > PUBLIC_KEPT_MAX:
            self._public.popitem(last=False)
        return answer

    async def read(self, who: Bearing, path: str, *, headers: Mapping[str, str] | None = None, **query: Any) -> Answer:
        """Read as somebody. ``headers``: an auditor's mandate, a language."""
        return await self._ask("GET", path, who=who, query=query, headers=headers)

    async def download(self, who: Bearing, path: str, **query: Any) -> "Download":
        """Read a file as it comes, however long: whoever takes it must come to its end, or close it."""
        headers = {"Authorization": f"Bearer {self._token(who)}"}
        patient = aiohttp.ClientTimeout(sock_connect=TIMEOUT_S, sock_read=TIMEOUT_S)
        try:
            answer = await self._http.get(path, params=_present(query), headers=headers, timeout=patient)
            if not answer.ok:
                _read(answer, await answer.read())
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise ServiceAway(type(exc).__name__) from None

        async def close() -> None:
            answer.close()

        return Download(headers=answer.headers, parts=answer.content.iter_chunked(CHUNK_BYTES), close=close)

    async def change(
        self,
        who: Bearing,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        if_match: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Change something as somebody. ``key``: the form's own, so that sending it twice does it once.

        ``if_match``: the entity tag of what the person saw.
        """
        sent = {"Idempotency-Key": key, "If-Match": if_match, **(headers or {})}
        return await self._ask(method, path, who=who, body={} if body is None else body, headers=_present(sent))

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        who: Bearing | None = None,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        sent = dict(headers or {})
        if who is not None:
            sent["Authorization"] = f"Bearer {self._token(who)}"
        try:
            async with self._http.request(
                method, path, params=_present(query or {}), json=body, headers=sent, allow_redirects=False
            ) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise ServiceAway(type(exc).__name__) from None
        return _read(answer, content)

    def _token(self, who: Bearing) -> str:
        key = (tuple(who.scopes), who.department, who.pseudonym, who.subject)
        held = self._tokens.get(key)
        now = time.monotonic()
        if held is None or now - held[0] > TOKEN_KEPT_S:
            held = self._tokens[key] = now, self._mint(who)
            self._tokens.move_to_end(key)
            while len(self._tokens) > TOKENS_MAX:
                self._tokens.popitem(last=False)
        return held[1]


def _read(answer: aiohttp.ClientResponse, content: bytes) -> Answer:
    is_json = "json" in answer.headers.get("content-type", "")
    try:
        body = json.loads(content) if is_json and content else None
    except ValueError:
        raise ServiceAway("not JSON") from None
    if answer.status >= 500:  # noqa: PLR2004 - HTTP's
        raise ServiceAway(str(answer.status))
    if not answer.ok:
        raise Refused(answer.status, body if isinstance(body, dict) else {})
    return Answer(
        status=answer.status,
        body=body,
        etag=answer.headers.get("etag"),
        next_cursor=_next(answer),
        text="" if is_json else content.decode(),
        headers=answer.headers,
    )


def _next(answer: aiohttp.ClientResponse) -> str | None:
    link = answer.links.get("next")
    return None if link is None else parse_qs(urlsplit(str(link["url"])).query).get("cursor", [None])[0]


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
