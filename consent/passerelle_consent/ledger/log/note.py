"""C2SP signed-note: text under Ed25519 signatures, and the verifier keys (vkeys) that open it. Pure."""

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from passerelle_consent.ledger.faults import Invalid, Unclear

ED25519 = 0x01
COSIGNATURE = 0x04
"""signed-note, "Signature types". Cosignatures belong to witnesses: see `cosignature`."""

KEY_ID_BYTES = 4
PUBLIC_KEY_BYTES = 32
NOTE_BYTES_MAX = 1 << 18
SIGNATURES_MAX = 64
"""A verifier must take 16 signatures and should have a bound; 64 of the largest kind (5 kB) fit the 256 KiB."""

_DASH = "— "


@dataclass(frozen=True, kw_only=True, slots=True)
class SignatureLine:
    """One signature as the note carries it."""

    name: str
    key_id: bytes
    signature: bytes

    def encode(self) -> str:
        """Return the line, with its newline."""
        return f"{_DASH}{self.name} {_base64(self.key_id + self.signature)}\n"

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read a line without its newline. Raises `Invalid`."""
        name, separator, encoded = line.removeprefix(_DASH).partition(" ")
        if not line.startswith(_DASH) or not separator:
            raise Invalid("a signature line is not '— name base64'")
        _check_name(name)
        raw = _unbase64(encoded)
        if len(raw) <= KEY_ID_BYTES:
            raise Invalid("a signature is too short")
        return cls(name=name, key_id=raw[:KEY_ID_BYTES], signature=raw[KEY_ID_BYTES:])


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """A parsed note. Nothing in it is to be believed before `Verifier.check`."""

    text: str
    signatures: tuple[SignatureLine, ...]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Raises `Invalid` for anything but the format's one spelling."""
        if len(data) > NOTE_BYTES_MAX:
            raise Invalid("the note is too long")
        try:
            whole = data.decode("utf-8")
        except UnicodeDecodeError:
            raise Invalid("the note is not UTF-8") from None
        if any(c < " " and c != "\n" for c in whole):
            raise Invalid("the note holds control characters")
        text, separator, tail = whole.rpartition("\n\n")
        if not separator or not tail.endswith("\n"):
            raise Invalid("the note has no signatures")
        lines = tail[:-1].split("\n")
        if len(lines) > SIGNATURES_MAX:
            raise Invalid("the note has too many signatures")
        return cls(text=text + "\n", signatures=tuple(map(SignatureLine.parse, lines)))

    def encode(self) -> bytes:
        """Return the bytes that `parse` reads."""
        return f"{self.text}\n{''.join(s.encode() for s in self.signatures)}".encode()

    def signed_by(self, name: str, key_id: bytes) -> list[SignatureLine]:
        """Return the signatures that say to be of this key."""
        return [s for s in self.signatures if (s.name, s.key_id) == (name, key_id)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verifier:
    """A verifier key: who signs, and the public key that tells."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """What the key's signatures carry."""
        return key_id(self.name, ED25519, self.public)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a vkey. Raises `Unclear`: without a key nothing is told."""
        try:
            name, public = parse_vkey(text, ED25519)
        except Invalid:
            hint = "it has the form name+12ab34cd+AbC…="
            raise Unclear("not the verifier key of an Ed25519 log", hint=hint) from None
        return cls(name=name, public=public)

    def encode(self) -> str:
        """Return the vkey."""
        return vkey(self.name, ED25519, self.public)

    def check(self, note: Note) -> None:
        """Raise `Unclear` when this key did not sign the note, `Invalid` when its signature does not hold."""
        mine = note.signed_by(self.name, self.key_id)
        if not mine:
            raise Unclear(f"no signature by {self.name} under this key", hint="is this the log's vkey?")
        key = Ed25519PublicKey.from_public_bytes(self.public)
        for line in mine:
            try:
                key.verify(line.signature, note.text.encode())
            except InvalidSignature:
                raise Invalid(f"the signature of {self.name} does not hold") from None


@dataclass(frozen=True, kw_only=True, slots=True)
class Signer:
    """The log's private key under its name."""

    name: str
    private: Ed25519PrivateKey

    @classmethod
    def of(cls, name: str, seed: bytes) -> Self:
        """``seed``: the 32 secret bytes of RFC 8032."""
        _check_name(name)
        return cls(name=name, private=Ed25519PrivateKey.from_private_bytes(seed))

    @property
    def verifier(self) -> Verifier:
        """The key to hand to everybody."""
        return Verifier(name=self.name, public=self.private.public_key().public_bytes_raw())

    def sign(self, text: str) -> Note:
        """``text`` must end in a newline."""
        if not text.endswith("\n"):
            raise Invalid("the text of a note ends in a newline")
        line = SignatureLine(name=self.name, key_id=self.verifier.key_id, signature=self.private.sign(text.encode()))
        return Note(text=text, signatures=(line,))


def open_note(data: bytes, verifiers: Iterable[Verifier]) -> Note:
    """Parse ``data`` and check it against every one of ``verifiers``."""
    note = Note.parse(data)
    for verifier in verifiers:
        verifier.check(note)
    return note


def key_id(name: str, kind: int, public: bytes) -> bytes:
    """First four bytes of SHA-256(name, newline, type, public key)."""
    return sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:KEY_ID_BYTES]


def vkey(name: str, kind: int, public: bytes) -> str:
    """Write ``<name>+<key id in hex>+<base64 of type and key>``."""
    return f"{name}+{key_id(name, kind, public).hex()}+{_base64(bytes([kind]) + public)}"


def parse_vkey(text: str, kind: int) -> tuple[str, bytes]:
    """Read name and public key of a vkey of this type, in its one spelling. Raises `Invalid`."""
    name, _, rest = text.partition("+")
    material = _unbase64(rest.partition("+")[2])
    _check_name(name)
    if len(material) != 1 + PUBLIC_KEY_BYTES or material[0] != kind or vkey(name, kind, material[1:]) != text:
        raise Invalid("not a verifier key of this type")
    return name, material[1:]


def _check_name(name: str) -> None:
    if not name or "+" in name or any(c.isspace() or c < " " for c in name):
        raise Invalid("a key's name is empty or holds a space or a plus")


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _unbase64(text: str) -> bytes:
    """RFC 4648, 4, in its one spelling: padding bits that are not zero would let a byte change unseen."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Invalid("not base64") from None
    if _base64(raw) != text:
        raise Invalid("not base64 in its canonical form")
    return raw
