"""Sign a receipt, and open one: JWS (RFC 7515) in its compact form, Ed25519 (RFC 8037, 9864), over RFC 8785 bytes.

Opening asks nobody: it takes the public keys as a JWK set (RFC 7517). A key's id is its thumbprint (RFC 7638), so
a city may change its key and go on publishing the old public one.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import rfc8785
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from passerelle_schemas.faults import Fault

TYPE = "passerelle-receipt+jws"
ALGORITHM = "Ed25519"
RECEIPT_CHARACTERS_MAX = 262_144
"""The longest agreement makes some 20 kB."""
PARTS = 3
_HEADER = frozenset({"alg", "kid", "typ"})


class BadReceipt(Fault):
    """What was given is no receipt of this city, or is not as it was issued."""

    exit_code = 1


class UnknownKeys(Fault):
    """The keys to check against cannot be read: nobody can tell."""

    exit_code = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Seal:
    """The city's key for receipts."""

    key: OKPKey

    @classmethod
    def of(cls, secret: bytes) -> "Seal":
        """``secret``: 32 bytes."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(key=OKPKey.import_key(Ed25519PrivateKey.from_private_bytes(secret)))

    def jwk(self) -> dict[str, str]:
        """The public key (RFC 8037 §2)."""
        public = {name: str(value) for name, value in self.key.as_dict(private=False).items()}
        return {**public, "kid": self.key.thumbprint(), "use": "sig", "alg": ALGORITHM}

    def sign(self, document: Mapping[str, Any]) -> str:
        """Return the compact form."""
        header = {"alg": ALGORITHM, "kid": self.key.thumbprint(), "typ": TYPE}
        return jws.serialize_compact(header, rfc8785.dumps(dict(document)), self.key, algorithms=[ALGORITHM])


def open_sealed(compact: str, keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return the receipt within. ``keys`` is a JWK set. Raises `BadReceipt` that says what is wrong, `UnknownKeys`."""
    compact = compact.strip()
    if len(compact) > RECEIPT_CHARACTERS_MAX:
        raise BadReceipt("is longer than any receipt")
    if compact.count(".") + 1 != PARTS or not compact.isascii():
        raise BadReceipt("is no signed receipt, or is cut short", hint="a receipt has three parts, joined by dots")
    try:
        sealed = jws.extract_compact(compact.encode())
    except JoseError:
        raise BadReceipt("cannot be read: it is cut short, or was changed") from None
    key = _key(keys, _kid(sealed.headers()))
    if not jws.validate_compact(sealed, key, algorithms=[ALGORITHM]):
        raise BadReceipt("was changed since it was signed, or the key is another's")
    return _content(sealed.payload)


def public_keys(text: str) -> dict[str, Any]:
    """Read a JWK set. Raises `UnknownKeys`."""
    try:
        keys = json.loads(text)
    except ValueError:
        raise UnknownKeys("is no JWK set") from None
    if not isinstance(keys, dict) or not isinstance(keys.get("keys"), list):
        raise UnknownKeys("is no JWK set")
    return keys


def _kid(header: Mapping[str, Any]) -> str:
    """The key's id. Nothing of the header is believed that is not exactly as we write it (RFC 8725 §3.1, §3.11)."""
    if header.get("alg") != ALGORITHM:
        raise BadReceipt("is not signed as receipts are", hint=f"receipts are signed with {ALGORITHM}")
    if header.get("typ") != TYPE:
        raise BadReceipt("is something else that was signed, not a receipt")
    if header.keys() - _HEADER:  # RFC 7515 §4.1.11: what may be critical and is not understood
        raise BadReceipt("has a header that asks for more than a receipt has")
    kid = header.get("kid")
    if not isinstance(kid, str):
        raise BadReceipt("does not name its key")
    return kid


def _key(keys: Mapping[str, Any], kid: str) -> OKPKey:
    for jwk in keys["keys"]:
        if isinstance(jwk, dict) and jwk.get("kty") == "OKP":
            try:
                key = OKPKey.import_key({name: jwk[name] for name in ("crv", "kty", "x")})
            except (JoseError, KeyError, ValueError):
                raise UnknownKeys("holds a key that is none") from None
            if key.thumbprint() == kid:
                return key
    raise BadReceipt("is signed by a key that is not among these", hint="take the keys of the city that issued it")


def _content(payload: bytes) -> dict[str, Any]:
    read = json.loads(payload)
    if not isinstance(read, dict) or read.get("@type") != "dpv:ConsentReceipt":
        raise BadReceipt("was signed, but is no receipt")
    return read
