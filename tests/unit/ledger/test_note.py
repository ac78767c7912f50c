"""Signed notes and checkpoints, against the examples that the C2SP texts print."""

import base64

import pytest

from passerelle_consent.ledger.faults import Invalid, Unclear
from passerelle_consent.ledger.log.checkpoint import Checkpoint, open_checkpoint
from passerelle_consent.ledger.log.note import Note, Signer, Verifier, open_note
from passerelle_consent.ledger.log.tree import EMPTY_ROOT
from unit.ledger.fakes import ORIGIN, SIGNER

VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()
HEAD = Checkpoint(origin=ORIGIN, size=0, root=EMPTY_ROOT)


def test_the_example_of_the_specification_opens():
    """signed-note, "Example"."""
    verifier = Verifier.parse(VKEY)
    assert verifier.encode() == VKEY
    note = open_note(NOTE, [verifier])
    assert note.text == "This is an example message.\n"
    assert note.encode() == NOTE


def test_a_checkpoint_opens_under_its_key():
    data = HEAD.sign(SIGNER)
    assert open_checkpoint(data, SIGNER.verifier) == HEAD
    assert open_checkpoint(data, Verifier.parse(SIGNER.verifier.encode())) == HEAD


def test_signatures_of_others_are_passed_over():
    """A note with a witness's line beneath ours is still ours (signed-note, "Signatures")."""
    witness = Signer.of("witness.example", bytes(32)).sign(HEAD.text())
    note = Note.parse(HEAD.sign(SIGNER))
    both = Note(text=note.text, signatures=witness.signatures + note.signatures).encode()
    assert open_checkpoint(both, SIGNER.verifier) == HEAD


def test_every_flipped_byte_is_seen():
    data = HEAD.sign(SIGNER)
    for at in range(len(data)):
        for bit in range(8):
            bent = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
            with pytest.raises((Invalid, Unclear)):
                open_checkpoint(bent, SIGNER.verifier)


def test_another_key_cannot_tell():
    with pytest.raises(Unclear, match="no signature by"):
        open_checkpoint(HEAD.sign(SIGNER), Signer.of(ORIGIN, bytes(32)).verifier)


def test_another_origin_cannot_tell():
    other = Signer.of("elsewhere.example/log", bytes(32))
    data = Checkpoint(origin=other.name, size=0, root=EMPTY_ROOT).sign(other)
    with pytest.raises(Unclear, match=r"the checkpoint of elsewhere\.example/log, not of lutece"):
        open_checkpoint(data, SIGNER.verifier)


ROOT64 = base64.b64encode(EMPTY_ROOT).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n0\n" + ROOT64 + "\n",
        f"o\n00\n{ROOT64}\n",
        f"o\n-1\n{ROOT64}\n",
        f"o\n+1\n{ROOT64}\n",
        f"o\n\u0661\n{ROOT64}\n",
        "o\n0\nAAAA\n",
        f"o\n0\n{ROOT64[:-2]}V=\n",
        f"o\n0\n{ROOT64}",
        f"o\n0\n{ROOT64}\n\n",
        "o\n0\n",
    ],
)
def test_no_checkpoint(text):
    with pytest.raises(Invalid):
        Checkpoint.parse(text)


def test_extension_lines_are_kept():
    text = f"o\n7\n{ROOT64}\nopaque line\n"
    assert Checkpoint.parse(text).extensions == ("opaque line",)
    assert Checkpoint.parse(text).text() == text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        NOTE[:-1],
        NOTE.replace(b"\n\n", b"\n"),
        NOTE.replace(b"This", b"\tThis"),
        b"\xff" + NOTE,
        NOTE.replace("— ".encode(), b"- "),
        NOTE + "— a b c\n".encode(),
        NOTE + "— a AAAA\n".encode(),
        NOTE + "— a+b Uw2QOkn8\n".encode(),
        NOTE.replace(b"aQM=", b"aQN="),
        NOTE + b"x" * (1 << 18),
        NOTE + "— a Uw2QOkn8\n".encode() * 64,
    ],
)
def test_no_note(data):
    with pytest.raises(Invalid):
        Note.parse(data)


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        VKEY + "\n",
        VKEY.replace("530d903a", "530d903b"),
        VKEY.replace("530d903a", "530D903A"),
        VKEY.replace("AekyeRrm", "AukyeRrm"),
        VKEY[:-4],
        "two words+530d903a+" + VKEY.rpartition("+")[2],
    ],
)
def test_no_vkey(vkey):
    with pytest.raises((Unclear, Invalid)):
        Verifier.parse(vkey)


def test_a_signed_text_ends_in_a_newline():
    with pytest.raises(Invalid):
        SIGNER.sign("no newline")
