"""What ties an entry to a person without naming them: commitments and sealed private parts, per-subject keys. Pure.

Each subject has a random key, k_subject. Whoever holds it can find that person's entries (`subject_commit`) and open
what stands behind them (`unseal`, `body_commit`). When it is destroyed nobody can, and every proof still verifies.
Randomness is an argument, so that the same call gives the same bytes.
"""

import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from passerelle_consent.ledger.faults import Invalid
from passerelle_consent.ledger.log.canonical import canonical

if TYPE_CHECKING:
    from hashlib import _Hash as HASH

KEY_BYTES = 32
COMMIT_NONCE_BYTES = 32
"""As long as the digest: a private part of few possible values cannot be found by trying them."""
HANDLE_BYTES = 16
GCM_NONCE_BYTES = 12
"""NIST SP 800-38D, 8.2.2: random nonces, good for 2**32 messages under one key. One person has fewer entries."""
DRAWN_BYTES = COMMIT_NONCE_BYTES + GCM_NONCE_BYTES
"""Random bytes that one commitment takes."""

_BODY_DOMAIN = b"passerelle/ledger/body/v1\n"
_SEAL_DOMAIN = b"passerelle/ledger/seal/v1"
_WRAP_DOMAIN = b"passerelle/ledger/wrap/v1\n"
_HANDLE_DOMAIN = b"passerelle/ledger/handle/v1"

_BODY = sha256(_BODY_DOMAIN)
_tuple = tuple.__new__

RANDOM_BLOCK_BYTES = 1 << 16
"""Several times what one record of decisions takes, so that little of a block is left over."""

Random: TypeAlias = Callable[[int], bytes]
"""``os.urandom``, or a seeded stand-in."""


def in_blocks(random: Random) -> Random:
    """Draw from ``random`` in blocks and hand out each byte once: the kernel asked for every key costs more than it."""
    block, at = b"", 0

    def draw(count: int) -> bytes:
        nonlocal block, at
        if at + count > len(block):
            block, at = random(max(count, RANDOM_BLOCK_BYTES)), 0
        at += count
        return block[at - count : at]

    return draw


def subject_commit(key: bytes, ident: bytes) -> bytes:
    """HMAC-SHA-256(k_subject, id of the decision or entry)."""
    return hmac.digest(key, ident, "sha256")


def _keyed(secret: bytes) -> tuple["HASH", "HASH"]:
    """SHA-256 with the inner and with the outer padded key taken in: all of HMAC that does not depend on the text.

    RFC 2104, 4, describes it. Two copies of these cost a quarter of a copy of the standard library's `hmac.HMAC`.
    """
    padded = secret.ljust(_BLOCK_BYTES, b"\0")
    return sha256(padded.translate(_INNER)), sha256(padded.translate(_OUTER))


_BLOCK_BYTES = 64
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))


def handle(key: bytes) -> bytes:
    """HMAC-SHA-256(k_subject, domain)[:16]: under what the database lists a person's entries. It is published nowhere.

    Whoever has the database alone sees which entries are of one person, and not whose; once the key is destroyed
    nobody can find out.
    """
    return hmac.digest(key, _HANDLE_DOMAIN, "sha256")[:HANDLE_BYTES]


def body_commit(nonce: bytes, private: bytes) -> bytes:
    """SHA-256(domain, nonce, private part). The nonce's length is fixed, so the parts cannot be shifted."""
    return sha256(_BODY_DOMAIN + nonce + private).digest()


@dataclass(frozen=True, kw_only=True, slots=True)
class SubjectKey:
    """k_subject with what is derived from it."""

    secret: bytes = field(repr=False)
    inner: "HASH" = field(repr=False, compare=False)
    outer: "HASH" = field(repr=False, compare=False)
    """HMAC-SHA-256 under the key, as `_keyed` makes it."""
    seal: AESGCM = field(repr=False, compare=False)
    handle: bytes

    @classmethod
    def of(cls, secret: bytes) -> "SubjectKey":
        """Derive the sealing key: one block of HMAC, as HKDF-Expand does for 32 bytes (RFC 5869, 2.3)."""
        inner, outer = _keyed(secret)
        sealing, listing = _mac(inner, outer, _SEAL_DOMAIN), _mac(inner, outer, _HANDLE_DOMAIN)
        return cls(secret=secret, inner=inner, outer=outer, seal=AESGCM(sealing), handle=listing[:HANDLE_BYTES])


def _mac(inner: "HASH", outer: "HASH", text: bytes) -> bytes:
    inner, outer = inner.copy(), outer.copy()
    inner.update(text)
    outer.update(inner.digest())
    return outer.digest()


class Committed(NamedTuple):
    """What an entry publishes of its private part, and what is stored of it. Made for every entry: a plain tuple."""

    subject_commit: bytes
    body_commit: bytes
    sealed: bytes
    """GCM nonce, then ciphertext of commitment nonce and private part; bound to the id."""
    handle: bytes | None = None
    """Under what the entry is found by whoever holds the key; None where nobody does."""


def commit(key: SubjectKey, ident: bytes, private: bytes, drawn: bytes) -> Committed:
    """Commit to ``private`` and seal it. ``drawn``: `DRAWN_BYTES` of randomness that are used for nothing else."""
    iv, opened = drawn[COMMIT_NONCE_BYTES:], drawn[:COMMIT_NONCE_BYTES] + private
    # `_mac` and `body_commit`, written out, and past NamedTuple's own constructor: each costs as much as it does.
    inner, outer, body = key.inner.copy(), key.outer.copy(), _BODY.copy()
    inner.update(ident)
    outer.update(inner.digest())
    body.update(opened)
    return _tuple(Committed, (outer.digest(), body.digest(), iv + key.seal.encrypt(iv, opened, ident), key.handle))


def commit_unseen(ident: bytes, private: bytes, thrown_away: bytes) -> Committed:
    """Commit under a key that is thrown away, 64 random bytes: nobody will ever find or open it."""
    return Committed(
        subject_commit=subject_commit(thrown_away[:KEY_BYTES], ident),
        body_commit=body_commit(thrown_away[KEY_BYTES:], private),
        sealed=b"",
    )


def unseal(key: SubjectKey, ident: bytes, sealed: bytes, committed: bytes) -> bytes:
    """Open a private part and hold it against the entry's ``body_commit``. Raises `Invalid`."""
    try:
        opened = key.seal.decrypt(sealed[:GCM_NONCE_BYTES], sealed[GCM_NONCE_BYTES:], ident)
    except (InvalidTag, ValueError):
        raise Invalid("the private part does not open under this subject's key") from None
    private = opened[COMMIT_NONCE_BYTES:]
    if not hmac.compare_digest(body_commit(opened[:COMMIT_NONCE_BYTES], private), committed):
        raise Invalid("the private part is not the one that the entry commits to")
    return private


def private_part(**fields: Any) -> bytes:
    """Write a private part: RFC 8785 JSON without what is None."""
    return canonical({name: value for name, value in fields.items() if value is not None})


def read_private(private: bytes) -> dict[str, Any]:
    """Read what `private_part` wrote."""
    read: dict[str, Any] = json.loads(private)
    return read


@dataclass(frozen=True, kw_only=True, slots=True)
class MasterKey:
    """Wraps subject keys. ``id`` tells which one wrapped a key, so that masters can be rotated."""

    id: str
    aead: AESGCM = field(repr=False, compare=False)

    @classmethod
    def of(cls, secret: bytes) -> "MasterKey":
        """Name the key by a digest of itself."""
        return cls(id=sha256(_WRAP_DOMAIN + secret).hexdigest()[:16], aead=AESGCM(secret))

    def wrap(self, subject: bytes, secret: bytes, random: Random) -> bytes:
        """Encrypt a subject key, bound to its subject: rows cannot be swapped."""
        iv = random(GCM_NONCE_BYTES)
        return iv + self.aead.encrypt(iv, secret, _WRAP_DOMAIN + subject)

    def unwrap(self, subject: bytes, wrapped: bytes) -> bytes:
        """Raises `Invalid`."""
        iv, ciphertext = wrapped[:GCM_NONCE_BYTES], wrapped[GCM_NONCE_BYTES:]
        try:
            return self.aead.decrypt(iv, ciphertext, _WRAP_DOMAIN + subject)
        except (InvalidTag, ValueError):
            raise Invalid("a subject's key does not open under this master key") from None
