"""The issuer's public keys: given as a JWK set (RFC 7517), or fetched from its ``jwks_uri``.

A provider that is down stops nobody whose key is known. A token of a key that we do not know, while the provider does
not answer, is refused as 503: we cannot tell whether it is good, and say so.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

import httpx
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from joserfc.errors import JoseError
from joserfc.jwk import Key, import_key
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from passerelle_consent.records import problems
from passerelle_consent.records.ports import Clock
from passerelle_consent.records.problems import Problem

ALGORITHMS: Mapping[str, tuple[str, str | None]] = MappingProxyType(
    {
        "EdDSA": ("OKP", "Ed25519"),  # RFC 8037
        "Ed25519": ("OKP", "Ed25519"),  # RFC 9864: the same, fully specified
        "ES256": ("EC", "P-256"),
        "RS256": ("RSA", None),
    }
)
"""What a token may be signed with, and the key that fits (RFC 8725 §3.1–3.2). No ``none``, nothing symmetric."""

RSA_BITS_MIN = 2_048
"""RFC 7518 §3.3."""

KEYS_MAX = 50
"""Providers keep two or three."""

REFRESH_MS_MIN = 10_000
"""Between two fetches, whatever keys are named: a stranger's tokens are no lever on the provider."""

FRESH_MS = 600_000
"""A key that the provider took back is forgotten after this long."""

ACCEPT = "application/jwk-set+json, application/json"
FETCH_S_MAX = 3.0
JWKS_BYTES_MAX = 262_144

Fetch = Callable[[], Awaitable[bytes]]
"""Return the JWK set as bytes. Raises `FetchFailed`."""

_log = structlog.get_logger("keys")


class FetchFailed(Exception):
    """The provider did not answer with a JWK set."""


class Keys(Protocol):
    """An issuer's keys."""

    async def find(self, kid: str, algorithm: str) -> Key:
        """Return the key of this id that fits the algorithm. Raises `Problem`."""
        ...


class _Jwks(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    keys: list[dict[str, Any]] = Field(max_length=KEYS_MAX)


class FixedKeys:
    """A JWK set that does not change."""

    def __init__(self, jwks: bytes) -> None:
        """Raise `FetchFailed` for what is no JWK set."""
        self._keys = _usable(jwks)

    async def find(self, kid: str, algorithm: str) -> Key:
        """Return the key. Raises `Problem` token-of-unknown-key."""
        return _fitting(self._keys.get(kid), algorithm)


class ProviderKeys:
    """A provider's JWK set, fetched when needed and kept."""

    def __init__(self, fetch: Fetch, clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: Mapping[str, Key] = {}
        self._tried_ms: int | None = None
        self._fetched_ms: int | None = None
        self._fetching = asyncio.Lock()

    async def find(self, kid: str, algorithm: str) -> Key:
        """Return the key. Raises `Problem` token-of-unknown-key, issuer-unavailable."""
        if kid in self._keys and (self._fresh() or self._fetching.locked()):
            return _fitting(self._keys[kid], algorithm)
        async with self._fetching:  # one at a time: those who waited find what the first one fetched
            if kid not in self._keys or not self._fresh():
                await self._refresh()
        if kid not in self._keys and self._fetched_ms != self._tried_ms:
            raise Problem(problems.ISSUER_UNAVAILABLE)
        return _fitting(self._keys.get(kid), algorithm)

    def _fresh(self) -> bool:
        return self._fetched_ms is not None and self._clock() - self._fetched_ms < FRESH_MS

    async def _refresh(self) -> None:
        now_ms = self._clock()
        if self._tried_ms is not None and now_ms - self._tried_ms < REFRESH_MS_MIN:
            return
        self._tried_ms = now_ms
        try:
            self._keys = _usable(await self._fetch())
        except FetchFailed as failed:
            _log.warning("keys not fetched", why=str(failed))
            return
        self._fetched_ms = now_ms


def fetch_from(jwks_uri: str) -> Fetch:
    """Fetch over HTTP; no redirect is followed."""

    async def fetch() -> bytes:
        try:
            async with (
                asyncio.timeout(FETCH_S_MAX),
                httpx.AsyncClient(timeout=FETCH_S_MAX) as http,
                http.stream("GET", jwks_uri, headers={"Accept": ACCEPT}) as answer,
            ):
                if answer.status_code != httpx.codes.OK:
                    raise FetchFailed(f"status {answer.status_code}")
                return await _bounded(answer)
        except (httpx.HTTPError, TimeoutError) as exc:
            raise FetchFailed(type(exc).__name__) from None

    return fetch


async def _bounded(answer: httpx.Response) -> bytes:
    body = b""
    async for chunk in answer.aiter_bytes():
        body += chunk
        if len(body) > JWKS_BYTES_MAX:
            raise FetchFailed("too large")
    return body


def _usable(jwks: bytes) -> Mapping[str, Key]:
    """Return those that may verify a token, by id; a set may hold others."""
    try:
        found = _Jwks.model_validate_json(jwks).keys
    except ValidationError:
        raise FetchFailed("no JWK set") from None
    return {str(jwk["kid"]): key for jwk in found if "kid" in jwk and (key := _imported(jwk)) is not None}


def _imported(jwk: dict[str, Any]) -> Key | None:
    if jwk.get("kty") not in {kty for kty, _ in ALGORITHMS.values()} or jwk.get("use", "sig") != "sig":
        return None
    try:
        key = import_key(jwk)
        public = key.public_key
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return None if isinstance(public, RSAPublicKey) and public.key_size < RSA_BITS_MIN else key


def _fitting(key: Key | None, algorithm: str) -> Key:
    """Return the key if the algorithm is its own: the token's header does not choose (RFC 8725 §3.1)."""
    kty, curve = ALGORITHMS[algorithm]
    fits = key is not None and (key.key_type, key.get("crv")) == (kty, curve)
    if key is None or not fits or ALGORITHMS.get(str(key.get("alg", algorithm))) != (kty, curve):
        raise Problem(problems.TOKEN_KEY)
    return key
