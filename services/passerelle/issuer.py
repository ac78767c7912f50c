"""The city's own issuer of access tokens (RFC 9068): for the demonstration, tests and trials by hand.

A real city names its identity provider in the manifest (`identity.jwks_uri`). Without one, whoever can read the key
file `keys/issuer.key` may act as anybody, as whoever can read the keys of the pseudonyms already could.
"""

import json
import secrets
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jwt
from joserfc.jwk import OKPKey

from passerelle.city.manifest import Manifest
from passerelle.config import Home
from passerelle.keys import key_bytes
from passerelle_schemas.faults import Fault

SEED_BYTES = 32
"""RFC 8032: the private key of Ed25519."""

ALGORITHM = "Ed25519"
"""RFC 9864; older libraries call it EdDSA."""

MINUTES = 15
"""How long a token lives unless asked otherwise: long enough to try something by hand."""

CLIENT = "passerelle"
"""Who asked for the token (`client_id`): these commands."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bearing:
    """Whom a token speaks for."""

    scopes: Sequence[str]
    department: str | None = None
    pseudonym: bytes | None = None
    subject: str | None = None
    """Who that is at the issuer; of itself, the citizen's pseudonym or the office's scope and department."""

    @property
    def sub(self) -> str:
        """The claim of that name."""
        office = ".".join((*self.scopes, *([self.department] if self.department else ())))
        return self.subject or (office if self.pseudonym is None else self.pseudonym.hex())


class LocalIssuer:
    """Mints tokens with an Ed25519 key file, made at first use, mode 0600. Raises `Fault`."""

    def __init__(self, home: Home, manifest: Manifest) -> None:
        if not manifest.identity.local:
            raise Fault("tokens are the identity provider's", where=str(manifest.path), hint="ask it for one")
        self._identity = manifest.identity
        private = Ed25519PrivateKey.from_private_bytes(key_bytes(home.keys, manifest.keys.issuer, SEED_BYTES))
        self._key = OKPKey(private, None)
        self._kid = self._key.thumbprint()

    @property
    def jwks(self) -> bytes:
        """The public key, as a JWK set (RFC 7517)."""
        public = {**self._key.as_dict(private=False), "kid": self._kid, "use": "sig"}
        return json.dumps({"keys": [public]}).encode()

    def mint(self, bearing: Bearing, *, minutes: int = MINUTES, now_s: int | None = None) -> str:
        """Return a new token."""
        issued = int(time.time()) if now_s is None else now_s
        claims = {
            "iss": self._identity.issuer,
            "aud": self._identity.audience,
            "sub": bearing.sub,
            "client_id": CLIENT,
            "jti": secrets.token_urlsafe(16),
            "iat": issued,
            "exp": issued + minutes * 60,
            "scope": " ".join(bearing.scopes),
            "department": bearing.department,
            "pseudonym": None if bearing.pseudonym is None else bearing.pseudonym.hex(),
        }
        header = {"alg": ALGORITHM, "kid": self._kid, "typ": "at+jwt"}
        present = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(header, present, self._key, algorithms=[ALGORITHM])

    def bearer(self, bearing: Bearing) -> "Bearer":
        """Return what puts such a token on every request of an httpx client."""
        return Bearer(lambda: self.mint(bearing))


class Bearer(httpx.Auth):
    """A bearer token on each request (RFC 6750 §2.1), a new one well before the old one ends."""

    def __init__(self, token: Callable[[], str], *, renew_s: float = MINUTES * 60 / 2) -> None:
        self._token = token
        self._renew_s = renew_s
        self._held: tuple[str, float] | None = None

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Put the token on the request."""
        request.headers["Authorization"] = f"Bearer {self._current()}"
        yield request

    def _current(self) -> str:
        now = time.monotonic()
        if self._held is None or now >= self._held[1]:
            self._held = self._token(), now + self._renew_s
        return self._held[0]
