"""Sign a receipt or an export, and open one: compact JWS (RFC 7515), Ed25519 (RFC 8037, 9864), over RFC 8785 bytes.

Opening asks nobody: it takes the public keys (`keys`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import rfc8785
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from passerelle_consent.receipts.keys import KeySet
from passerelle_schemas.faults import Fault

ALGORITHM = "Ed25519"
PARTS = 3
_HEADER = frozenset({"alg", "kid", "typ"})


class Kind(Enum):
    """What the city signs for citizens: the header's `typ`, and how many characters it may be long."""

    RECEIPT = ("passerelle-receipt+jws", 131_072)
    """The longest agreement makes some 20 kB."""
    EXPORT = ("passerelle-export+jws", 16_777_216)
    """A part of an export is some 4 MB with 200 receipts of the longest agreement in it."""

    @property
    def type(self) -> str:
        """The header's `typ`."""
        return self.value[0]

    @property
    def characters_max(self) -> int:
        """How long it may be, in its compact form."""
        return self.value[1]


SEALED_CHARACTERS_MAX = max(kind.characters_max for kind in Kind)
_KINDS: Mapping[object, Kind] = {kind.type: kind for kind in Kind}
_REGISTRY = jws.JWSRegistry(algorithms=[ALGORITHM])
_REGISTRY.max_payload_length = SEALED_CHARACTERS_MAX


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

    def sign(self, document: Mapping[str, Any], kind: Kind = Kind.RECEIPT) -> str:
        """Return the compact form."""
        header = {"alg": ALGORITHM, "kid": self.key.thumbprint(), "typ": kind.type}
        return jws.serialize_compact(header, rfc8785.dumps(dict(document)), self.key, algorithms=[ALGORITHM])


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """What was signed, and that it is as it was signed."""

    kind: Kind
    content: Mapping[str, Any]


def open_sealed(compact: str, keys: KeySet) -> Opened:
    """Return what is within. Raises `BadReceipt` that says what is wrong, `UnknownKeys`."""
    if len(compact) > SEALED_CHARACTERS_MAX:
        raise BadReceipt("is longer than anything that the city signs")
    compact = compact.strip()
    if compact.count(".") + 1 != PARTS or not compact.isascii():
        raise BadReceipt("is no signed receipt, or is cut short", hint="a receipt has three parts, joined by dots")
    try:
        sealed = jws.extract_compact(compact.encode(), registry=_REGISTRY)
    except (JoseError, RecursionError):
        raise BadReceipt("cannot be read: it is cut short, or was changed") from None
    kind, kid = _kind(sealed.headers()), _kid(sealed.headers())
    if len(compact) > kind.characters_max:
        raise BadReceipt(f"is longer than any {kind.name.lower()}")
    key = keys.key(kid)
    if key is None:
        raise BadReceipt("is signed by a key that is not among these", hint="take the keys of the city that issued it")
    if not jws.validate_compact(sealed, key, algorithms=[ALGORITHM]):
        raise BadReceipt("was changed since it was signed, or the key is another's")
    return Opened(kind=kind, content=_content(sealed.payload, kind))


def _kind(header: Mapping[str, Any]) -> Kind:
    """What it says to be. Nothing of the header is believed that is not as we write it (RFC 8725 §3.1, §3.11)."""
    if header.get("alg") != ALGORITHM:
        raise BadReceipt("is not signed as receipts are", hint=f"receipts are signed with {ALGORITHM}")
    type_ = header.get("typ")
    if not isinstance(type_, str) or type_ not in _KINDS:
        raise BadReceipt("is something else that was signed, neither a receipt nor an export")
    if header.keys() - _HEADER:  # RFC 7515 §4.1.11: what may be critical and is not understood
        raise BadReceipt("has a header that asks for more than a receipt has")
    return _KINDS[type_]


def _kid(header: Mapping[str, Any]) -> str:
    kid = header.get("kid")
    if not isinstance(kid, str):
        raise BadReceipt("does not name its key")
    return kid


def _content(payload: bytes, kind: Kind) -> dict[str, Any]:
    try:
        read = json.loads(payload)
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict) or read.get("@type") != _TYPES[kind]:
        raise BadReceipt(f"was signed, but is no {kind.name.lower()}")
    return read


_TYPES: Mapping[Kind, str] = {Kind.RECEIPT: "dpv:ConsentReceipt", Kind.EXPORT: "passerelle:Export"}
