"""A receipt is opened by the city's key alone, and whatever is wrong with one is named."""

import base64
import json

import pytest
from typer.testing import CliRunner

from passerelle.cli import app
from passerelle_consent.receipts.seal import TYPE, BadReceipt, Seal, UnknownKeys, open_sealed, public_keys

SEAL, OTHER = Seal.of(b"s" * 32), Seal.of(b"o" * 32)
KEYS = {"keys": [OTHER.jwk(), SEAL.jwk()]}
RECEIPT = {"@type": "dpv:ConsentReceipt", "n": 1}
HEADER = {"alg": "Ed25519", "kid": SEAL.key.thumbprint(), "typ": TYPE}


def b64(value):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forged(**header):
    _, payload, signature = SEAL.sign(RECEIPT).split(".")
    return f"{b64({**HEADER, **header})}.{payload}.{signature}"


def flipped(compact, at):
    raw = bytearray(compact.encode())
    raw[at] = ord("A") if raw[at] != ord("A") else ord("B")
    return raw.decode()


def test_what_was_sealed_is_opened_again():
    assert open_sealed(SEAL.sign(RECEIPT) + "\n", KEYS) == RECEIPT


def test_an_old_key_still_opens_what_it_sealed():
    assert open_sealed(OTHER.sign(RECEIPT), KEYS) == RECEIPT


@pytest.mark.parametrize(
    ("compact", "what"),
    [
        (SEAL.sign(RECEIPT)[:-30], "changed"),
        (SEAL.sign(RECEIPT).rpartition(".")[0], "cut short"),
        ("", "cut short"),
        ("é.é.é", "cut short"),
        (forged(alg="none"), "not signed as receipts are"),
        (forged(alg="HS256"), "not signed as receipts are"),
        (forged(typ="JWT"), "not a receipt"),
        (forged(crit=["exp"], exp=1), "asks for more"),
        (forged(kid="nobody"), "not among these"),
        (forged(kid=OTHER.key.thumbprint()), "changed"),
        (SEAL.sign({"@type": "dpv:Process"}), "is no receipt"),
        ("a" * 300_000, "longer"),
    ],
)
def test_what_is_wrong_is_named(compact, what):
    with pytest.raises(BadReceipt, match=what):
        open_sealed(compact, KEYS)


def test_no_changed_character_of_content_or_signature_passes():
    compact = SEAL.sign(RECEIPT)
    head = compact.index(".") + 1
    # The last character of a part holds bits that base64 does not use: changed, it may be the same receipt.
    ends = {len(compact) - 1, compact.rindex(".") - 1}
    for at in set(range(head, len(compact))) - ends - {compact.rindex(".")}:
        with pytest.raises(BadReceipt):
            open_sealed(flipped(compact, at), KEYS)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"keys": 1}'])
def test_what_is_no_jwk_set(text):
    with pytest.raises(UnknownKeys):
        public_keys(text)


def test_a_key_that_is_none():
    with pytest.raises(UnknownKeys):
        open_sealed(SEAL.sign(RECEIPT), {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "!"}]})


def verified(tmp_path, compact, keys=None):
    (tmp_path / "receipt.jws").write_text(compact)
    (tmp_path / "keys.json").write_text(json.dumps(keys or KEYS))
    command = ["receipt", "verify", str(tmp_path / "receipt.jws"), "--keys", str(tmp_path / "keys.json"), "--json"]
    return CliRunner().invoke(app, command)


def test_the_command_prints_a_valid_receipt(tmp_path):
    done = verified(tmp_path, SEAL.sign(RECEIPT))
    assert (done.exit_code, json.loads(done.output)) == (0, RECEIPT)


def test_the_command_tells_an_invalid_one_from_one_that_it_cannot_judge(tmp_path):
    assert verified(tmp_path, forged(alg="none")).exception.exit_code == 1
    assert verified(tmp_path, SEAL.sign(RECEIPT), keys={"none": 1}).exception.exit_code == 2
