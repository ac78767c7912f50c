"""Who a person is on the bus (DESIGN §4): subject refs from pivot identities, and each department's pseudonyms."""

import hmac
import re
import unicodedata
from collections.abc import Mapping
from datetime import date

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from pydantic import BaseModel, ConfigDict, Field

from passerelle_schemas.faults import Fault

REF_BYTES = 16
CITY_KEY_BYTES = 32
DEPARTMENT_KEY_BYTES = 16


class UnknownDepartment(Fault):
    """No key for this department."""


class NotAPseudonym(Fault):
    """A pseudonym is 16 bytes."""


class PivotIdentity(BaseModel):
    """FranceConnect's pivot identity. Used in memory; never stored, never logged."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    given_names: tuple[str, ...] = Field(min_length=1, max_length=20)
    family_name: str = Field(min_length=1, max_length=200)
    birth_date: date
    gender: str = Field(pattern="^(female|male)$")
    birth_place: str = Field(pattern=r"^([0-9][0-9AB][0-9]{3})?$")
    """INSEE code of the commune; empty for a person born abroad."""
    birth_country: str = Field(pattern=r"^[0-9]{5}$")
    """INSEE code of the country; 99100 is France."""

    def __repr__(self) -> str:
        """Say nothing about the person."""
        return "PivotIdentity(…)"

    __str__ = __repr__


def canonical(identity: PivotIdentity) -> bytes:
    """The identity as one line of text that two registers would write alike."""
    return "\n".join(
        (
            " ".join(normalised(name) for name in identity.given_names),
            normalised(identity.family_name),
            identity.birth_date.isoformat(),
            identity.gender,
            identity.birth_place,
            identity.birth_country,
        )
    ).encode()


def normalised(name: str) -> str:
    """Without accents, case, hyphens, apostrophes and doubled spaces: NFKD, then what a register may vary."""
    text = unicodedata.normalize(
        "NFKD", name.replace("œ", "oe").replace("Œ", "OE").replace("æ", "ae").replace("Æ", "AE")
    )
    plain = "".join(c for c in text if not unicodedata.combining(c)).casefold()
    return " ".join(re.sub(r"[\W_]+", " ", plain).split())


def subject_ref(city_key: bytes, identity: PivotIdentity) -> bytes:
    """HMAC-SHA-256 of the canonical identity, 16 bytes: known to the bus alone."""
    return hmac.digest(city_key, canonical(identity), "sha256")[:REF_BYTES]


class Keyring:
    """The departments' keys: subject ref ⇄ pseudonym, one AES-128 block each way, no table."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        # Single-block ECB is right here: every input is a distinct pseudo-random block, so there is no pattern for
        # ECB to show, and a keyed permutation is exactly what is wanted.
        self._ciphers = {department: Cipher(AES(key), ECB()) for department, key in keys.items()}  # noqa: S305

    @property
    def departments(self) -> frozenset[str]:
        """Whom the keyring knows."""
        return frozenset(self._ciphers)

    def pseudonym(self, department: str, ref: bytes) -> bytes:
        """A subject's pseudonym at a department. Raises `UnknownDepartment`, `NotAPseudonym`."""
        return self.pseudonyms(department, _block(ref))

    def subject(self, department: str, pseudonym: bytes | None) -> bytes:
        """The subject ref behind a department's pseudonym. Raises `UnknownDepartment`, `NotAPseudonym`."""
        return self.subjects(department, _block(pseudonym))

    def pseudonyms(self, department: str, refs: bytes) -> bytes:
        """The same for many: ``refs`` and the answer are concatenated blocks of 16 bytes."""
        return self._cipher(department).encryptor().update(refs)

    def subjects(self, department: str, pseudonyms: bytes) -> bytes:
        """The same for many: concatenated blocks of 16 bytes."""
        return self._cipher(department).decryptor().update(pseudonyms)

    def _cipher(self, department: str) -> "Cipher[ECB]":
        try:
            return self._ciphers[department]
        except KeyError:
            raise UnknownDepartment(f"no department {department}") from None


def _block(value: bytes | None) -> bytes:
    if value is None or len(value) != REF_BYTES:
        raise NotAPseudonym("a key of this topic is 16 bytes")
    return value
