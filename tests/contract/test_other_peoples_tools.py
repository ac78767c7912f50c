"""Our log before code that is not ours: Tessera's fsck over HTTP, Go's sumdb/note, transparency-dev's merkle library.

`tests/contract/go` holds the program, its modules pinned. It is built once; where there is no Go, or no way to its
modules, the tests say so and are skipped.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from passerelle_consent.ledger.folder import LogFolder
from passerelle_consent.ledger.prove import prove_inclusion
from passerelle_consent.ledger.verify import verify
from unit.ledger.fakes import SIGNER, LedgerTown, served

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SOURCE = Path(__file__).parent / "go"
SIZE = 70_000
"""Three levels of tiles, each with a partial one: the example of tlog-tiles, "Partial Tiles"."""
VKEY = SIGNER.verifier.encode()


@pytest.fixture(scope="session")
def tlog(tmp_path_factory):
    """The program, built."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("no Go on this machine")
    fetched = subprocess.run([go, "mod", "download"], cwd=SOURCE, capture_output=True, text=True, check=False)
    if fetched.returncode:
        pytest.skip(f"Go modules cannot be fetched: {fetched.stderr.strip().splitlines()[-1]}")
    program = tmp_path_factory.mktemp("go") / "tlog"
    subprocess.run([go, "build", "-o", program, "."], cwd=SOURCE, check=True)
    return program


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A log that the integrator has published."""
    town = LedgerTown(tmp_path_factory.mktemp("town"))
    integrator = town.started()
    for number in range(SIZE // 1_000):
        town.decide(number % 2, count=1_000)
    while integrator.step().full:
        pass
    yield town.folder
    town.store.close()


def said_by(program, *arguments):
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60)


def test_tesseras_fsck_accepts_our_log_over_http(tlog, folder):
    ours = verify(LogFolder(folder), SIGNER.verifier)
    with served(folder) as address:
        done = said_by(tlog, "fsck", address, VKEY)
    assert (done.returncode, done.stdout) == (0, f"{SIZE} {ours.root.hex()}\n"), done.stderr


@pytest.mark.parametrize("name", ["tile/entries/100", "tile/0/000", "tile/1/001.p/17", "checkpoint"])
def test_tesseras_fsck_refuses_what_ours_refuses(tlog, folder, name, tmp_path):
    """Else its word above would mean little."""
    shutil.copytree(folder, tmp_path / "bent")
    bent = bytearray((tmp_path / "bent" / name).read_bytes())
    bent[40] ^= 1
    (tmp_path / "bent" / name).write_bytes(bent)
    with served(tmp_path / "bent") as address:
        assert said_by(tlog, "fsck", address, VKEY).returncode == 1


def test_gos_note_package_opens_our_checkpoint(tlog, folder, tmp_path):
    ours = verify(LogFolder(folder), SIGNER.verifier)
    done = said_by(tlog, "note", folder / "checkpoint", VKEY)
    assert (done.returncode, done.stdout) == (0, f"{SIZE} {ours.root.hex()}\n"), done.stderr
    (tmp_path / "bent").write_bytes((folder / "checkpoint").read_bytes().replace(b"\n70000\n", b"\n70001\n"))
    assert said_by(tlog, "note", tmp_path / "bent", VKEY).returncode == 1


@pytest.mark.parametrize("index", [0, 255, 65_536, SIZE - 1])
def test_transparency_devs_merkle_library_verifies_our_proof_files(tlog, folder, index, tmp_path):
    proof = prove_inclusion(LogFolder(folder), SIGNER.verifier, index)
    (tmp_path / "one.tlog-proof").write_bytes(proof.encode())
    done = said_by(tlog, "proof", tmp_path / "one.tlog-proof", VKEY)
    assert (done.returncode, done.stdout) == (0, f"{index} {proof.entry.decode()}\n"), done.stderr
    (tmp_path / "bent").write_bytes(
        proof.encode().replace(f"index {index}\n".encode(), f"index {index ^ 1}\n".encode())
    )
    assert said_by(tlog, "proof", tmp_path / "bent", VKEY).returncode == 1
