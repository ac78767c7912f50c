"""An OpenID provider, as a client sees it: authorization code with PKCE, and everything signed is checked.

OpenID Connect Core 1.0, Discovery 1.0, RP-Initiated Logout 1.0, Back-Channel Logout 1.0; FranceConnect v2 adds
`acr_values=eidas1` and a userinfo answer that is a JWT. Only ES256 and RS256 are taken.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
from authlib.integrations.httpx_client import AsyncOAuth2Client
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from passerelle.web.signing_in.kept import SigningIn
from passerelle_schemas.faults import Fault

DISCOVERY = "/.well-known/openid-configuration"
ALGORITHMS = ["ES256", "RS256"]
TIMEOUT_S = 10.0
LEEWAY_S = 60
KEYS_AGAIN_S = 30.0
"""A key that is not known makes us ask the provider again, so often at most."""
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


class SignInFailed(Exception):
    """The provider did not answer as it should; nobody is signed in. Says at which step, and nothing of the person."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Client:
    """Who we are at a provider."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    scopes: Sequence[str] = ()
    """Asked for besides `openid`."""
    acr: str | None = None
    """The least level of assurance (`eidas1` at FranceConnect)."""

    @classmethod
    def of(cls, path: Path, name: str, said: Mapping[str, Any], scopes: Sequence[str]) -> Self:
        """Read a part of the clients' file. Raises `Fault`."""
        try:
            return cls(
                issuer=str(said["issuer"]).rstrip("/"),
                client_id=str(said["client_id"]),
                client_secret=str(said["client_secret"]),
                scopes=(*said.get("scopes", scopes),),
                acr=said.get("acr"),
            )
        except (KeyError, TypeError):
            hint = 'it holds "issuer", "client_id" and "client_secret"'
            raise Fault(f"{name} does not name a client", where=str(path), hint=hint) from None


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedIn:
    """What a provider says of somebody."""

    claims: Mapping[str, Any] = field(repr=False)
    id_token: str = field(repr=False)


class Provider:
    """One provider. Its addresses and keys are asked for when they are first needed."""

    def __init__(self, client: Client, http: httpx.AsyncClient) -> None:
        self.client = client
        self._http = http
        self._found: Mapping[str, Any] | None = None
        self._keys: KeySet | None = None
        self._keys_asked = float("-inf")

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        parts = urlsplit(self.client.issuer)
        return f"{parts.scheme}://{parts.netloc}"

    async def question(self, asked: SigningIn, back: str, language: str) -> str:
        """Return where the browser goes to sign in. Raises `SignInFailed`."""
        extra = {"acr_values": self.client.acr} if self.client.acr else {}
        async with self._oauth(back) as oauth:
            url, _ = oauth.create_authorization_url(
                (await self._discovered())["authorization_endpoint"],
                state=asked.state,
                nonce=asked.nonce,
                code_verifier=asked.verifier,
                ui_locales=language,
                **extra,
            )
        return str(url)

    async def answer(self, asked: SigningIn, code: str, back: str) -> SignedIn:
        """Exchange the code; return who it is, checked. Raises `SignInFailed`."""
        found = await self._discovered()
        try:
            async with self._oauth(back) as oauth:
                token = await oauth.fetch_token(found["token_endpoint"], code=code, code_verifier=asked.verifier)
                told = await oauth.get(found["userinfo_endpoint"])
            id_token = str(token["id_token"])
        except Exception as exc:  # noqa: BLE001 - Authlib raises what it and httpx have
            raise SignInFailed(f"token: {type(exc).__name__}") from None
        proven = await self._verified(id_token, "id_token")
        if proven.get("nonce") != asked.nonce:
            raise SignInFailed("nonce")
        if self.client.acr and str(proven.get("acr", "")) < self.client.acr:
            raise SignInFailed("acr")
        claims = await self._userinfo(told)
        if claims.get("sub") != proven.get("sub"):
            raise SignInFailed("sub")
        return SignedIn(claims={**claims, "sid": proven.get("sid")}, id_token=id_token)

    async def ended(self, logout_token: str) -> tuple[str | None, str | None]:
        """Return the person and the session that a logout token ends (Back-Channel Logout §2.6). `SignInFailed`."""
        claims = await self._verified(logout_token, "logout_token")
        if LOGOUT_EVENT not in claims.get("events", {}) or "nonce" in claims:
            raise SignInFailed("logout_token")
        return claims.get("sub"), claims.get("sid")

    async def goodbye(self, id_token: str, back: str, state: str) -> str | None:
        """Return where the browser ends the provider's own session; None if it has no such place."""
        try:
            endpoint = (await self._discovered()).get("end_session_endpoint")
        except SignInFailed:
            return None
        query = {"id_token_hint": id_token, "post_logout_redirect_uri": back, "state": state}
        return None if endpoint is None else str(httpx.URL(endpoint, params=query))

    def _oauth(self, back: str) -> Any:
        return AsyncOAuth2Client(
            self.client.client_id,
            self.client.client_secret,
            scope=" ".join(("openid", *self.client.scopes)),
            redirect_uri=back,
            code_challenge_method="S256",
            timeout=TIMEOUT_S,
        )

    async def _discovered(self) -> Mapping[str, Any]:
        if self._found is None:
            found = await self._json(self.client.issuer + DISCOVERY)
            if found.get("issuer") != self.client.issuer:
                raise SignInFailed("issuer")
            self._found = found
        return self._found

    async def _verified(self, token: str, what: str) -> Mapping[str, Any]:
        """Check a signature, its issuer, its audience and its times; the keys are asked for again for a new one."""
        for again in (False, True):
            try:
                signed = jwt.decode(token, await self._key_set(again=again), algorithms=ALGORITHMS)
                break
            except (JoseError, ValueError):
                if again:
                    raise SignInFailed(f"{what}: signature") from None
        claims: Mapping[str, Any] = signed.claims
        audience = claims.get("aud")
        now = time.time()
        if (
            claims.get("iss") != self.client.issuer
            or self.client.client_id not in ([audience] if isinstance(audience, str) else audience or [])
            or not now - LEEWAY_S < float(claims.get("exp", now)) + LEEWAY_S
            or float(claims.get("iat", now)) > now + LEEWAY_S
        ):
            raise SignInFailed(f"{what}: claims")
        return claims

    async def _userinfo(self, told: httpx.Response) -> Mapping[str, Any]:
        if told.is_success and told.headers.get("content-type", "").startswith("application/jwt"):
            return await self._verified(told.text, "userinfo")
        raise SignInFailed(
            "userinfo"
        )  # unsigned: FranceConnect v2 signs it, and so does every provider that is asked to

    async def _key_set(self, *, again: bool) -> KeySet:
        now = time.monotonic()
        if self._keys is None or (again and now - self._keys_asked > KEYS_AGAIN_S):
            self._keys_asked = now
            self._keys = KeySet.import_key_set(await self._json((await self._discovered())["jwks_uri"]))  # type: ignore[arg-type]
        return self._keys

    async def _json(self, url: str) -> dict[str, Any]:
        try:
            answer = await self._http.get(url, timeout=TIMEOUT_S)
            answer.raise_for_status()
            read = answer.json()
        except (httpx.HTTPError, ValueError):
            raise SignInFailed("provider") from None
        if not isinstance(read, dict):
            raise SignInFailed("provider")
        return read


def clients(path: Path) -> Mapping[str, Any]:
    """Read the file that names us at the providers, mode 0600: `{"citizen": {…}, "staff": {…}}`. Raises `Fault`."""
    try:
        read = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        raise Fault("cannot be read as JSON", where=str(path)) from None
    if not isinstance(read, dict):
        raise Fault('holds no object with "citizen" and "staff"', where=str(path))
    return read
