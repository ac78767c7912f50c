"""Access tokens: JWTs of one issuer (RFC 9068), checked as RFC 8725 advises.

Fails closed: what cannot be checked is refused, each reason as a problem type of its own (RFC 6750 §3.1). Nothing of
a token is repeated or logged. No header of a token leads to a key: ``kid`` picks one among the issuer's.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Annotated, Any

from joserfc import jws
from joserfc.errors import JoseError
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints, ValidationError

from passerelle_consent.records import problems
from passerelle_consent.records.http.keys import ALGORITHMS, Keys
from passerelle_consent.records.ports import PERSONAL, Clock, Principal, Pseudonym, Role
from passerelle_consent.records.problems import Problem

TYPES = frozenset({"at+jwt", "application/at+jwt"})
"""RFC 9068 §2.1: so that an ID token of the same issuer is no access token (RFC 8725 §3.11)."""

LEEWAY_MS = 30_000
"""How far the issuer's clock and ours may be apart."""

TOKEN_CHARS_MAX = 8_192
"""What common servers take as a header; ours need some 500."""

CACHED_MAX = 10_000
"""Tokens known to be good, so that a citizen's second request costs a hash: some 5 MB."""

CACHED_MS_MAX = 60_000
"""How long a key that the issuer took back lives on in tokens already seen."""

_Text = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class _Claims(BaseModel):
    """RFC 9068 §2.2, and whose pseudonyms are spoken of. Unknown claims are the issuer's own affair."""

    model_config = ConfigDict(strict=True, frozen=True, hide_input_in_errors=True)

    iss: _Text
    sub: _Text
    aud: _Text | list[_Text]
    exp: FiniteFloat
    iat: FiniteFloat
    nbf: FiniteFloat | None = None
    jti: _Text
    client_id: _Text
    scope: str = Field(default="", max_length=1_000)
    department: str | None = None
    pseudonym: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Trust:
    """Whose tokens are taken, and for whom."""

    issuer: str
    audience: str
    departments: frozenset[str]
    """Those that have pseudonyms."""


class _Registry(jws.JWSRegistry):
    """Ours alone. RFC 9864 would rather see Ed25519 than EdDSA; providers send both, so nobody is warned."""

    def get_alg(self, name: str) -> Any:
        """Return the algorithm; its name was checked before."""
        return self.algorithms[name]


class Tokens:
    """An `Authenticator`."""

    def __init__(self, keys: Keys, trust: Trust, clock: Clock) -> None:
        self._keys = keys
        self._trust = trust
        self._clock = clock
        self._registry = _Registry(algorithms=list(ALGORITHMS))
        self._known: OrderedDict[bytes, tuple[Principal, float]] = OrderedDict()

    async def __call__(self, token: str) -> Principal:
        """Return whose token it is. Raises `Problem`."""
        digest = hashlib.sha256(token.encode(errors="replace")).digest()
        known = self._known.get(digest)
        if known is not None and self._clock() < known[1]:
            return known[0]
        claims = await self._verified(token)
        principal = _principal(claims, self._trust)
        self._remember(digest, principal, claims.exp * 1000)
        return principal

    async def _verified(self, token: str) -> _Claims:
        signed, claims = self._parsed(token)
        algorithm = signed.headers()["alg"]
        if claims.iss != self._trust.issuer:  # before its keys are asked for: another's tokens cost us nothing
            raise Problem(problems.TOKEN_ISSUER)
        key = await self._keys.find(signed.headers().get("kid", ""), algorithm)
        try:
            if not jws.validate_compact(signed, key, registry=self._registry):
                raise Problem(problems.TOKEN_SIGNATURE)
        except JoseError:
            raise Problem(problems.TOKEN_SIGNATURE) from None
        if self._trust.audience not in ([claims.aud] if isinstance(claims.aud, str) else claims.aud):
            raise Problem(problems.TOKEN_AUDIENCE)
        _check_times(claims, self._clock())
        return claims

    def _parsed(self, token: str) -> tuple[jws.CompactSignature, _Claims]:
        if len(token) > TOKEN_CHARS_MAX:
            raise Problem(problems.TOKEN_MALFORMED)
        try:
            signed = jws.extract_compact(token.encode(), registry=self._registry)
            header = signed.headers()
            if header.get("alg") not in ALGORITHMS:
                raise Problem(problems.TOKEN_ALGORITHM)
            self._registry.check_header(header)
            if str(header.get("typ")).lower() not in TYPES or "crit" in header:
                raise Problem(problems.TOKEN_MALFORMED)
            return signed, _Claims.model_validate_json(signed.payload)
        except (JoseError, ValidationError, ValueError, TypeError, AttributeError):  # the header may be any JSON
            raise Problem(problems.TOKEN_MALFORMED) from None

    def _remember(self, digest: bytes, principal: Principal, expires_ms: float) -> None:
        self._known[digest] = principal, min(expires_ms, self._clock() + CACHED_MS_MAX)
        while len(self._known) > CACHED_MAX:
            self._known.popitem(last=False)


def _check_times(claims: _Claims, now_ms: int) -> None:
    if claims.exp * 1000 + LEEWAY_MS <= now_ms:
        raise Problem(problems.TOKEN_EXPIRED)
    if max(claims.iat, claims.nbf or claims.iat) * 1000 - LEEWAY_MS > now_ms:
        raise Problem(problems.TOKEN_NOT_YET)


def _principal(claims: _Claims, trust: Trust) -> Principal:
    """Return whom it speaks for: a citizen or an office, never both. Scopes that we do not know are left alone."""
    roles = frozenset(role for role in Role if role.value in claims.scope.split())
    personal = not roles.isdisjoint(PERSONAL)
    needs_department = personal or bool(roles & {Role.DEPARTMENT, Role.OFFICER})
    if (
        (personal and not roles <= PERSONAL)
        or (personal is (claims.pseudonym is None))
        or (claims.department not in trust.departments and (needs_department or claims.department is not None))
    ):
        raise Problem(problems.TOKEN_CLAIMS)
    return Principal(
        name=_name(claims) if personal else claims.sub,
        department=claims.department,
        roles=roles,
        pseudonym=None if claims.pseudonym is None else Pseudonym(bytes.fromhex(claims.pseudonym)),
    )


def _name(claims: _Claims) -> str:
    """What tells citizens apart in our rows: their subject at the issuer stands there as a hash."""
    return "citizen." + hashlib.sha256(f"{claims.iss}\n{claims.sub}".encode()).hexdigest()[:32]
