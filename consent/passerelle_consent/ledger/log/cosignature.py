"""C2SP tlog-cosignature, Ed25519: a witness says when it saw a checkpoint, consistent with all before. Pure.

The signed message is ``cosignature/v1``, the time, and the checkpoint's text; the signature carries its time.
"""

import struct
from dataclasses import dataclass
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from passerelle_consent.ledger.faults import Invalid, Unclear
from passerelle_consent.ledger.log.note import COSIGNATURE, Note, SignatureLine, key_id, parse_vkey, vkey

_TIME = struct.Struct(">Q")
TIME_S_MAX = 2**63 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class WitnessKey:
    """A witness's verifier key."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """What the key's cosignatures carry."""
        return key_id(self.name, COSIGNATURE, self.public)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a vkey of type 0x04. Raises `Unclear`."""
        try:
            name, public = parse_vkey(text, COSIGNATURE)
        except Invalid:
            raise Unclear("not the verifier key of an Ed25519 witness", hint="its base64 begins with B") from None
        return cls(name=name, public=public)

    def encode(self) -> str:
        """Return the vkey."""
        return vkey(self.name, COSIGNATURE, self.public)

    def time_s(self, note: Note) -> int | None:
        """Return when this witness last cosigned the note; None when it did not. Raises `Invalid` for a forged one."""
        return max((self.check(line, note.text) for line in note.signed_by(self.name, self.key_id)), default=None)

    def check(self, line: SignatureLine, text: str) -> int:
        """Return the time of a cosignature of this key. Raises `Invalid`."""
        stamp, signature = line.signature[: _TIME.size], line.signature[_TIME.size :]
        try:
            (time_s,) = _TIME.unpack(stamp)
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, _message(text, time_s))
        except (struct.error, InvalidSignature):
            raise Invalid(f"the cosignature of {self.name} does not hold") from None
        if time_s > TIME_S_MAX:
            raise Invalid(f"the cosignature of {self.name} is of no time")
        return int(time_s)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cosigner:
    """A witness's private key under its name. The key signs cosignatures and nothing else."""

    name: str
    private: Ed25519PrivateKey

    @classmethod
    def of(cls, name: str, seed: bytes) -> Self:
        """``seed``: the 32 secret bytes of RFC 8032. Raises `Unclear` for a name that no key can have."""
        cosigner = cls(name=name, private=Ed25519PrivateKey.from_private_bytes(seed))
        WitnessKey.parse(cosigner.key.encode())
        return cosigner

    @property
    def key(self) -> WitnessKey:
        """The key to hand to everybody."""
        return WitnessKey(name=self.name, public=self.private.public_key().public_bytes_raw())

    def sign(self, text: str, time_s: int) -> SignatureLine:
        """Cosign a checkpoint's text. Whoever calls this has made sure that it is consistent with all before."""
        signature = _TIME.pack(time_s) + self.private.sign(_message(text, time_s))
        return SignatureLine(name=self.name, key_id=self.key.key_id, signature=signature)


def _message(text: str, time_s: int) -> bytes:
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()
