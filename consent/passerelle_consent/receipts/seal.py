"""Sign a receipt, and open one: JWS (RFC 7515) in its compact form, Ed25519 (RFC 8037, 9864), over RFC 8785 bytes.

Opening asks nobody: it takes the public keys (`keys`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import rfc8785
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from passerelle_consent.receipts.keys import KeySet
from passerelle_schemas.faults import Fault

TYPE = "passerelle-receipt+jws"
ALGORITHM = "Ed25519"
RECEIPT_CHARACTERS_MAX = 131_072
"""The longest agreement makes some 20 kB."""
PARTS = 3
_HEADER = frozenset({"alg", "kid", "typ"})

_REGISTRY = jws.JWSRegistry(algorithms=[ALGORITHM])
_REGISTRY.max_payload_length = RECEIPT_CHARACTERS_MAX


class BadReceipt(Fault):
    """What was given is no receipt of this city, or is not as it was issued."""

    exit_code = 1


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


def open_sealed(compact: str, keys: KeySet) -> dict[str, Any]:
    """Return the receipt within. Raises `BadReceipt` that says what is wrong, `UnknownKeys`."""
    if len(compact) > RECEIPT_CHARACTERS_MAX:
        raise BadReceipt("is longer than any receipt")
    compact = compact.strip()
    if compact.count(".") + 1 != PARTS or not compact.isascii():
        raise BadReceipt("is no signed receipt, or is cut short", hint="a receipt has three parts, joined by dots")
    try:
        sealed = jws.extract_compact(compact.encode(), registry=_REGISTRY)
    except (JoseError, RecursionError):
        raise BadReceipt("cannot be read: it is cut short, or was changed") from None
    key = keys.key(_kid(sealed.headers()))
    if key is None:
        raise BadReceipt("is signed by a key that is not among these", hint="take the keys of the city that issued it")
    if not jws.validate_compact(sealed, key, algorithms=[ALGORITHM]):
        raise BadReceipt("was changed since it was signed, or the key is another's")
    return _content(sealed.payload)


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


def _content(payload: bytes) -> dict[str, Any]:
    try:
        read = json.loads(payload)
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict) or read.get("@type") != "dpv:ConsentReceipt":
        raise BadReceipt("was signed, but is no receipt")
    return read
