"""The public keys that receipts are checked with: a JWK set (RFC 7517) of every key that the city ever signed with.

A key's id is its thumbprint (RFC 7638). A city may change its key: the old public one stays, and so do old receipts.
One entry that cannot be read spoils no other; only what that very key signed cannot be judged.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from passerelle_schemas.faults import Fault

KEYS_MAX = 200
"""A new key each month for sixteen years."""
KEY_SET_BYTES_MAX = 131_072
"""The largest set makes some 50 kB, as indented."""
_PUBLIC = ("alg", "crv", "kid", "kty", "use", "x")
_CURVES_OF_OTHERS = ("Ed448", "X25519", "X448")


class UnknownKeys(Fault):
    """The keys to check against cannot be read: nobody can tell."""

    exit_code = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class KeySet:
    """A JWK set, as it was found: what cannot be read, and others' keys, stand in it too."""

    entries: tuple[Any, ...] = ()

    @classmethod
    def read(cls, text: str) -> "KeySet":
        """Read a JWK set. Raises `UnknownKeys`."""
        if len(text) > KEY_SET_BYTES_MAX:
            raise UnknownKeys("is longer than any set of keys")
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            raise UnknownKeys("is no JWK set") from None
        if not isinstance(found, dict) or not isinstance(found.get("keys"), list):
            raise UnknownKeys("is no JWK set")
        if len(found["keys"]) > KEYS_MAX:
            raise UnknownKeys(f"holds more than {KEYS_MAX} keys")
        return cls(entries=tuple(found["keys"]))

    def holding(self, jwk: Mapping[str, str]) -> "KeySet":
        """Return the set with this key in it. Raises `UnknownKeys` when there is no room."""
        if jwk in self.entries:
            return self
        if len(self.entries) >= KEYS_MAX:
            raise UnknownKeys(f"holds {KEYS_MAX} keys already")
        return KeySet(entries=(*self.entries, dict(jwk)))

    def public(self) -> list[dict[str, str]]:
        """Return what is published: of an entry that cannot be read what there is, of a private key nothing private."""
        entries = [entry for entry in self.entries if isinstance(entry, dict)]
        return [{name: e[name] for name in _PUBLIC if isinstance(e.get(name), str)} for e in entries]

    def unreadable(self) -> tuple[str, ...]:
        """Name the entries that cannot be read: by their id, else by their place."""
        return tuple(_kid(entry) or f"the key at place {place}" for place, entry in self._broken())

    def key(self, kid: str) -> OKPKey | None:
        """Return the key of this id, None if it is not there. Raises `UnknownKeys` if a broken one may be it."""
        for entry in self.entries:
            key = _readable(entry) if _is_ours(entry) and _kid(entry) in (None, kid) else None
            if key is not None and key.thumbprint() == kid:
                return key
        broken = {_kid(entry) for _, entry in self._broken()}
        if kid in broken or None in broken:
            raise UnknownKeys("may hold the key that signed this, but cannot be read there")
        return None

    def _broken(self) -> Iterator[tuple[int, Any]]:
        for place, entry in enumerate(self.entries, 1):
            if _is_ours(entry) and _readable(entry) is None:
                yield place, entry


def _is_ours(entry: Any) -> bool:
    """Whether it is, or was meant to be, a key for Ed25519 (RFC 8037 §2): other kinds sign no receipts."""
    if not isinstance(entry, dict):
        return True
    return entry.get("kty", "OKP") == "OKP" and entry.get("crv") not in _CURVES_OF_OTHERS


def _kid(entry: Any) -> str | None:
    kid = entry.get("kid") if isinstance(entry, dict) else None
    return kid if isinstance(kid, str) else None


def _readable(entry: Any) -> OKPKey | None:
    """Return the key; None where it is none, or another than its id says (then something in it was changed)."""
    try:
        key = OKPKey.import_key({name: entry[name] for name in ("crv", "kty", "x")})
    except (JoseError, LookupError, TypeError, ValueError):
        return None
    return key if _kid(entry) in (None, key.thumbprint()) else None
