"""Access tokens of the city's identity provider, for commands: the client credentials grant of OAuth 2.0.

RFC 6749 §4.4; where the tokens are asked for by OpenID Connect Discovery 1.0 §4, for whom they are by RFC 8707. They
travel over the client that needs them, before its own requests.
"""

import json
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from passerelle.city.manifest import Manifest
from passerelle.config import Settings
from passerelle.issuer import Bearing, LocalIssuer
from passerelle_schemas.faults import Fault

DISCOVERY = "/.well-known/openid-configuration"
LIFETIME_S = 300.0
"""Of a token whose answer does not say (RFC 6749 §5.1 only recommends that it does)."""
UNTIL_RENEWED = 0.5
"""A new one is asked for after this part of a token's life: no request meets one that is just ending."""


class NoToken(Fault):
    """The identity provider gives no token. Names neither the secret nor what was answered."""


class ClientCredentials(httpx.Auth):
    """A bearer token on each request, asked for as a client of the provider. Raises `NoToken`."""

    requires_response_body = True

    def __init__(
        self,
        issuer: str,
        audience: str,
        scopes: str,
        client: tuple[str, str],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``client``: its id and its secret."""
        self._issuer = issuer.rstrip("/")
        self._asked = {"grant_type": "client_credentials", "scope": scopes, "resource": audience}
        self._client = client
        self._clock = clock
        self._endpoint: str | None = None
        self._held: tuple[str, float] | None = None

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Ask for a token where one is needed, and put it on the request."""
        if self._held is None or self._clock() >= self._held[1]:
            if self._endpoint is None:
                found = _json((yield httpx.Request("GET", self._issuer + DISCOVERY)), self._issuer)
                self._endpoint = self._checked(found.get("token_endpoint"))
            answer = _json((yield self._question(self._endpoint)), self._endpoint)
            self._held = self._token(answer)
        request.headers["Authorization"] = f"Bearer {self._held[0]}"
        yield request

    def _question(self, endpoint: str) -> httpx.Request:
        # RFC 6749 §2.3.1: both are form-encoded before they become a user and a password.
        user, password = (quote(part, safe="") for part in self._client)
        request = httpx.Request("POST", endpoint, data=self._asked)
        return next(httpx.BasicAuth(user, password).auth_flow(request))

    def _checked(self, endpoint: Any) -> str:
        """Never send the secret where it could be read on the way, or to a place that is no address."""
        wanted = "https://" if self._issuer.startswith("https://") else "http"
        if not isinstance(endpoint, str) or not endpoint.startswith(wanted):
            raise NoToken("names no place to ask for tokens", where=self._issuer)
        return endpoint

    def _token(self, answer: dict[str, Any]) -> tuple[str, float]:
        token, lifetime = answer.get("access_token"), answer.get("expires_in", LIFETIME_S)
        if not isinstance(token, str) or not isinstance(lifetime, int | float):
            raise NoToken("does not answer with a token", where=self._issuer)
        return token, self._clock() + lifetime * UNTIL_RENEWED


def _json(answer: httpx.Response, where: str) -> dict[str, Any]:
    if answer.is_client_error:
        hint = "are the client's id and secret right, and may it ask for this scope and audience?"
        raise NoToken(f"gives no token ({answer.status_code})", where=where, hint=hint)
    try:
        read = answer.json() if answer.is_success else None
    except ValueError:
        read = None
    if not isinstance(read, dict):
        raise NoToken(f"does not answer as a provider does ({answer.status_code})", where=where)
    return read


def bearer(here: Settings, manifest: Manifest, bearing: Bearing) -> httpx.Auth:
    """Return what puts an office's token on each request: of the city's own issuer or the provider. Raises `Fault`."""
    identity = manifest.identity
    if identity.local:
        return LocalIssuer(here.home, manifest).bearer(bearing)
    client = _client(here.client_file)
    return ClientCredentials(identity.issuer, identity.audience, " ".join(bearing.scopes), client)


def _client(file: Path) -> tuple[str, str]:
    hint = 'a file of mode 0600: {"client_id": "…", "client_secret": "…"}; elsewhere: PASSERELLE_CLIENT=<path>'
    try:
        read = json.loads(file.read_text())
        return str(read["client_id"]), str(read["client_secret"])
    except OSError:
        raise NoToken(
            "tokens are the identity provider's, and no client is named", where=str(file), hint=hint
        ) from None
    except (ValueError, KeyError, TypeError):
        raise NoToken("the file does not name a client", where=str(file), hint=hint) from None
