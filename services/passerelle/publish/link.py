"""Link: turn pivot identities into the department's pseudonyms, through the identity register (DESIGN §4)."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import httpx

from passerelle.pseudonyms import REF_BYTES, PivotIdentity
from passerelle_schemas.faults import Fault

BATCH_MAX = 500
"""Identities a call; the register takes 1,000 at most, and half of it answers within a tick of its writer."""
ATTEMPTS = 5
FIRST_PAUSE_S = 0.2
"""Doubled each time: five attempts last 3 s, enough for a service that is being started again."""
TIMEOUT_S = 30.0
"""A first link of 500 people writes 500 standings."""


AGAIN = frozenset({409, 429, 502, 503, 504})
"""409: one of them is just being erased, which takes the gate a moment."""


class LinkFault(Fault):
    """The register cannot be reached, or said no."""


class LinkClient:
    """Asks ``POST /v1/links`` for the department that ``auth`` speaks for, in bounded batches."""

    def __init__(self, base_url: str, auth: httpx.Auth, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._base_url = base_url
        self._http = httpx.AsyncClient(
            base_url=base_url,
            auth=auth,
            timeout=TIMEOUT_S,
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def link(self, identities: Sequence[PivotIdentity]) -> list[bytes]:
        """Return the pseudonyms (16 bytes each), in the order of ``identities``. Raises `LinkFault`."""
        pseudonyms: list[bytes] = []
        for batch in _batches(identities):
            pseudonyms += await self._link(batch)
        return pseudonyms

    async def _link(self, batch: Sequence[PivotIdentity]) -> list[bytes]:
        body = {"identities": [i.model_dump(mode="json") for i in batch]}
        answer = await self._post(body)
        if answer.status_code != httpx.codes.OK:
            raise LinkFault(f"the identity register said no: {_title(answer)}", where=self._base_url)
        return self._pseudonyms(answer, len(batch))

    async def _post(self, body: object) -> httpx.Response:
        """Repeat what did not arrive or was turned away for now: linking is idempotent."""
        pause_s = FIRST_PAUSE_S
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = await self._http.post("/v1/links", json=body)
            except httpx.TransportError as exc:
                problem = type(exc).__name__
            else:
                if answer.status_code not in AGAIN:
                    return answer
                problem = f"status {answer.status_code}"
            if attempt < ATTEMPTS:
                await asyncio.sleep(pause_s)
                pause_s *= 2
        raise LinkFault(
            f"the identity register does not answer ({problem}, {ATTEMPTS} attempts)",
            where=self._base_url,
            hint="start it: passerelle consent serve",
        )

    def _pseudonyms(self, answer: httpx.Response, count: int) -> list[bytes]:
        try:
            pseudonyms = [bytes.fromhex(text) for text in answer.json()["pseudonyms"]]
        except (ValueError, KeyError, TypeError):
            pseudonyms = []
        if len(pseudonyms) != count or any(len(p) != REF_BYTES for p in pseudonyms):
            raise LinkFault("the identity register's answer is not one pseudonym each", where=self._base_url)
        return pseudonyms


def _title(answer: httpx.Response) -> str:
    """Return the title of an RFC 9457 problem. Not its detail, which may speak of the request."""
    try:
        title = answer.json()["title"]
    except (ValueError, KeyError, TypeError):
        title = "no reason given"
    return f"{answer.status_code} {title}"


def _batches(identities: Sequence[PivotIdentity]) -> list[Sequence[PivotIdentity]]:
    return [identities[i : i + BATCH_MAX] for i in range(0, len(identities), BATCH_MAX)]
