"""A receipt is opened by the city's key alone, and whatever is wrong with one is named."""

import base64
import json

import pytest
from joserfc import jws
from typer.testing import CliRunner

from passerelle.cli import app
from passerelle.receipt_keys import keep, read_key_set
from passerelle_consent.receipts.keys import KEYS_MAX, KeySet, UnknownKeys
from passerelle_consent.receipts.seal import BadReceipt, Kind, Seal, open_sealed
from passerelle_schemas.faults import Fault

SEAL, OTHER = Seal.of(b"s" * 32), Seal.of(b"o" * 32)
KEYS = KeySet().holding(OTHER.jwk()).holding(SEAL.jwk())
RECEIPT = {"@type": "dpv:ConsentReceipt", "n": 1}
HEADER = {"alg": "Ed25519", "kid": SEAL.key.thumbprint(), "typ": Kind.RECEIPT.type}


def jwks(*entries):
    return KeySet.read(json.dumps({"keys": entries}))


def b64(value):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forged(**header):
    _, payload, signature = SEAL.sign(RECEIPT).split(".")
    return f"{b64({**HEADER, **header})}.{payload}.{signature}"


def signed(payload):
    """Signed by the city's own key, whatever it is."""
    return jws.serialize_compact(HEADER, payload, SEAL.key, algorithms=["Ed25519"])


def flipped(compact, at):
    raw = bytearray(compact.encode())
    raw[at] = ord("A") if raw[at] != ord("A") else ord("B")
    return raw.decode()


def test_what_was_sealed_is_opened_again():
    assert open_sealed(SEAL.sign(RECEIPT) + "\n", KEYS).content == RECEIPT


def test_an_old_key_still_opens_what_it_sealed():
    assert open_sealed(OTHER.sign(RECEIPT), KEYS).content == RECEIPT


@pytest.mark.parametrize(
    ("compact", "what"),
    [
        (SEAL.sign(RECEIPT)[:-30], "changed"),
        (SEAL.sign(RECEIPT).rpartition(".")[0], "cut short"),
        ("", "cut short"),
        ("é.é.é", "cut short"),
        (forged(alg="none"), "not signed as receipts are"),
        (forged(alg="HS256"), "not signed as receipts are"),
        (forged(typ="JWT"), "something else"),
        (forged(typ=[]), "something else"),
        (SEAL.sign({**RECEIPT, "n": "a" * 100_000}), "longer than any receipt"),
        (SEAL.sign(RECEIPT, Kind.EXPORT), "is no export"),
        (forged(typ=Kind.EXPORT.type), "changed"),
        (forged(crit=["exp"], exp=1), "asks for more"),
        (forged(kid="nobody"), "not among these"),
        (forged(kid=OTHER.key.thumbprint()), "changed"),
        (SEAL.sign({"@type": "dpv:Process"}), "is no receipt"),
        ("a" * 17_000_000, "longer"),
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


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"keys": 1}', "[" * 100_000, '{"keys": ' + "[" * 100_000, "9" * 200_000],
    ids=lambda text: f"{text[:12]}…{len(text)}",
)
def test_what_is_no_jwk_set(text):
    with pytest.raises(UnknownKeys):
        KeySet.read(text)


BROKEN = [
    {**OTHER.jwk(), "x": "!"},
    {**OTHER.jwk(), "x": 5},
    {**OTHER.jwk(), "x": SEAL.jwk()["x"]},
    {**OTHER.jwk(), "crv": "Ed"},
    {"kty": "OKP", "kid": OTHER.jwk()["kid"]},
    {**OTHER.jwk(), "kid": None, "x": "AAAA"},
    "a key",
]


@pytest.mark.parametrize("broken", BROKEN, ids=str)
def test_a_broken_key_spoils_no_other_but_what_it_may_have_signed_cannot_be_judged(broken):
    keys = jwks(broken, SEAL.jwk())
    assert open_sealed(SEAL.sign(RECEIPT), keys).content == RECEIPT
    assert len(keys.unreadable()) == 1
    with pytest.raises(UnknownKeys):
        open_sealed(OTHER.sign(RECEIPT), keys)


def test_keys_of_other_kinds_are_none_of_ours():
    keys = jwks({"kty": "RSA", "n": "AQAB", "e": "AQAB"}, {"kty": "OKP", "crv": "X25519", "x": "AA"}, SEAL.jwk())
    assert keys.unreadable() == ()
    with pytest.raises(BadReceipt, match="not among these"):
        open_sealed(OTHER.sign(RECEIPT), keys)


def test_nothing_private_is_published():
    private = {**SEAL.jwk(), "d": "c2VjcmV0", "x5c": ["secret"]}
    assert jwks(private, "a key").public() == [SEAL.jwk()]


def test_a_file_of_keys_keeps_every_key_that_was_ever_used(tmp_path):
    path = tmp_path / "run" / "receipts.jwks"
    keep(OTHER, path)
    assert keep(SEAL, path) == keep(SEAL, path) == read_key_set(path) == KEYS
    assert [file.name for file in path.parent.iterdir()] == ["receipts.jwks"]
    for seal in (OTHER, SEAL):
        assert open_sealed(seal.sign(RECEIPT), read_key_set(path)).content == RECEIPT


def test_a_broken_entry_of_the_file_stays_for_somebody_to_mend(tmp_path):
    path = tmp_path / "receipts.jwks"
    path.write_text(json.dumps({"keys": [BROKEN[0]]}))
    keep(SEAL, path)
    assert read_key_set(path).entries == (BROKEN[0], SEAL.jwk())


@pytest.mark.parametrize("left", ['{"keys": [', "é", "[" * 200_000, json.dumps({"keys": [{"kty": "RSA"}] * KEYS_MAX})])
def test_a_file_of_keys_that_cannot_be_read_is_not_begun_anew(tmp_path, left):
    path = tmp_path / "receipts.jwks"
    path.write_text(left, encoding="latin-1")
    with pytest.raises(UnknownKeys, match=r"receipts\.jwks"):
        keep(SEAL, path)
    assert path.read_text(encoding="latin-1") == left


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "receipts.jwks"
    keep(OTHER, path)
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        keep(SEAL, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


EXPORT = {
    "@type": "passerelle:Export",
    "language": "en",
    "exported_at": "2026-05-01T08:00:00.001Z",
    "portal": "citizen-desk",
    "pseudonym": "ab" * 16,
    "part": 1,
    "complete": True,
    "changes": [
        {"said": {"kind": "restricted", "state": "restricted"}, "receipt": None},
        {
            "said": {"kind": "give", "state": "given", "agreement": "a@1", "recorded_at": "2026-04-01T08:00:00Z"},
            "receipt": SEAL.sign(RECEIPT),
        },
    ],
}


def verified(tmp_path, receipt, keys=None, command=("verify", "--json")):
    """Run the command as a shell does: its exit code, what it printed, and what it said on standard error."""
    (tmp_path / "receipt.jws").write_bytes(receipt if isinstance(receipt, bytes) else receipt.encode())
    text = json.dumps({"keys": KEYS.public()}) if keys is None else keys
    (tmp_path / "keys.json").write_text(text)
    files = [str(tmp_path / "receipt.jws"), "--keys", str(tmp_path / "keys.json")]
    done = CliRunner().invoke(app, ["receipt", command[0], *files, *command[1:]])
    if done.exception is None or isinstance(done.exception, SystemExit):
        return done.exit_code, done.stdout, done.stderr
    assert isinstance(done.exception, Fault), done.exception
    return done.exception.exit_code, done.stdout, str(done.exception)


def test_the_command_prints_a_valid_receipt(tmp_path):
    code, printed, _ = verified(tmp_path, SEAL.sign(RECEIPT))
    assert (code, json.loads(printed)) == (0, RECEIPT)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("verify",), ["Valid export", "Complete", "yes", "Receipts, all valid  1"]),
        (("show",), ["Valid export", "2026-04-01 08:00:00 (UTC)", "give · given · a@1"]),
        (("show", "--lang", "fr"), ["Export valide", "Complet", "oui", "01/04/2026 à 08:00:00 (UTC)"]),
    ],
)
def test_the_commands_take_an_export_too(tmp_path, command, words):
    code, printed, _ = verified(tmp_path, SEAL.sign(EXPORT, Kind.EXPORT), command=command)
    assert code == 0
    for said in words:
        assert said in printed


@pytest.mark.parametrize(
    ("within", "code"),
    [(flipped(SEAL.sign(RECEIPT), 200), 1), (Seal.of(b"x" * 32).sign(RECEIPT), 1), (SEAL.sign(EXPORT, Kind.EXPORT), 1)],
)
def test_an_export_with_a_receipt_that_is_none_is_not_valid(tmp_path, within, code):
    export = {**EXPORT, "changes": [{"said": {}, "receipt": within}]}
    assert verified(tmp_path, SEAL.sign(export, Kind.EXPORT))[0] == code


SPOKEN = {
    **RECEIPT,
    "dct:language": "fr",
    "dct:identifier": "0badcafe [red]\x1b[2J",
    "dpv:hasRecordOfActivity": {
        "dpv:hasProcess": {
            "dpv:hasPurpose": {"dct:description": {"@value": "Vous rappeler"}},
            "dpv:hasStorageCondition": [{"dpv:hasDuration": {"@value": "P1Y6M"}}],
            "dpv:hasLegalBasis": [{"skos:broader": {"@id": "eu-gdpr:A6-1-a"}}],
        },
        "dpv:hasConsentStatus": {
            "@type": ["dpv:ConsentGiven"],
            "dpv:isIndicatedAtTime": {"@value": "2026-05-01T08:00:00.001Z"},
        },
    },
}


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("show",), ["signé par la ville", "accord donné", "1 an 6 mois", "votre accord (RGPD, art. 6(1)(a))"]),
        (("show", "--lang", "en"), ["signed by the city", "consent given", "1 year 6 months", "(GDPR, Art. 6(1)(a))"]),
        (("verify",), ["Reçu valide", "accord donné", "01/05/2026 à 08:00:00 (UTC)"]),
    ],
)
def test_the_commands_say_what_a_receipt_says(tmp_path, command, words):
    code, printed, _ = verified(tmp_path, SEAL.sign(SPOKEN), command=command)
    assert code == 0
    for said in (*words, "Vous rappeler"):
        assert said in printed
    assert "\x1b" not in printed
    assert ("0badcafe [red]\N{REPLACEMENT CHARACTER}[2J" in printed) is (command[0] == "show")


@pytest.mark.parametrize("command", [("show",), ("verify",)])
def test_nothing_is_shown_of_a_receipt_that_was_changed(tmp_path, command):
    compact = SEAL.sign(SPOKEN)
    code, printed, _ = verified(tmp_path, flipped(compact, len(compact) // 2), command=command)
    assert (code, printed) == (1, "")


def test_the_command_names_a_key_that_it_leaves_out(tmp_path):
    code, _, said = verified(tmp_path, SEAL.sign(RECEIPT), keys=json.dumps({"keys": [BROKEN[0], SEAL.jwk()]}))
    assert code == 0
    assert f"{OTHER.jwk()['kid']} cannot be read and is left out" in said


@pytest.mark.parametrize(
    "receipt",
    [
        forged(alg="none"),
        OTHER.sign(RECEIPT)[:-9],
        "é.é.é".encode(),
        b"\xff\xfe" * 40,
        b"",
        b"." * 17_000_000,
        signed(b"no JSON"),
        signed(b"\xff"),
        signed(b"[" * 60_000),
        signed(b"[]"),
        f"{b64(b'[' * 500)}.AAAA.AAAA",
        f"{b64(b'[1]')}.AAAA.AAAA",
    ],
    ids=lambda receipt: f"{receipt[:20]}…{len(receipt)}",
)
def test_an_invalid_receipt_ends_with_1(tmp_path, receipt):
    assert verified(tmp_path, receipt)[0] == 1


@pytest.mark.parametrize("keys", ['{"none": 1}', "[" * 100_000, "é", json.dumps({"keys": BROKEN[:1]})])
def test_what_cannot_be_judged_ends_with_2(tmp_path, keys):
    assert verified(tmp_path, OTHER.sign(RECEIPT), keys=keys)[0] == 2


def test_a_receipt_is_taken_from_standard_input_too(tmp_path):
    (tmp_path / "keys.json").write_text(json.dumps({"keys": KEYS.public()}))
    command = ["receipt", "verify", "-", "--keys", str(tmp_path / "keys.json"), "--json"]
    done = CliRunner().invoke(app, command, input=SEAL.sign(RECEIPT))
    assert (done.exit_code, json.loads(done.stdout)) == (0, RECEIPT)


def test_a_receipt_that_is_not_there_ends_with_2(tmp_path):
    done = CliRunner().invoke(app, ["receipt", "verify", str(tmp_path / "none.jws")])
    assert done.exception.exit_code == 2
