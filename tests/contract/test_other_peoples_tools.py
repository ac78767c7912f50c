"""Our log and our witness before code that is not ours: Tessera, Go's sumdb/note, transparency-dev's merkle library.

`tests/contract/go` holds the program, its modules pinned. It is built once; where there is no Go, or no way to its
modules, the tests say so and are skipped.
"""

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from passerelle_consent.ledger.audit.findings import Outcome
from passerelle_consent.ledger.audit.folder import LogFolder
from passerelle_consent.ledger.audit.prove import prove_inclusion
from passerelle_consent.ledger.audit.site import LogSite
from passerelle_consent.ledger.audit.verify import fsck, verify
from passerelle_consent.ledger.log.note import Verifier
from passerelle_consent.ledger.log.trust import Policy
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


@pytest.fixture
def witness(tmp_path):
    """Start `passerelle ledger witness` for a log; return its key and its address."""
    started = []

    def start(*vkeys):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        logs = [argument for vkey in vkeys for argument in ("--log", vkey)]
        state = ("--name", "witness.example/w1", "--state", tmp_path / "w1", "--port", str(port))
        command = [sys.executable, "-m", "passerelle.cli", "ledger", "witness", *state, *logs]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1].stdout.readline().strip(), f"http://127.0.0.1:{port}/"

    yield start
    for process in started:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def policy_of(path, vkey, address):
    path.write_text(f"witness w1 {vkey} {address}\nquorum w1\n")
    return path


def test_transparency_devs_note_package_verifies_our_witness(tlog, folder, witness, tmp_path):
    key, address = witness(VKEY)
    command = [sys.executable, "-m", "passerelle.cli", "ledger", "cosign", folder]
    asked = [*command, "--vkey", VKEY, "--policy", policy_of(tmp_path / "policy", key, address)]
    until_open(address)
    (tmp_path / "cosigned").write_bytes(subprocess.run(asked, stdout=subprocess.PIPE, check=True).stdout)
    done = said_by(tlog, "note", tmp_path / "cosigned", VKEY, key)
    assert done.returncode == 0, done.stderr
    assert said_by(tlog, "note", folder / "checkpoint", VKEY, key).returncode == 1, "not cosigned, and it says so"


def test_a_tessera_log_publishes_what_our_witness_cosigned(tlog, witness, tmp_path):
    """Tessera as the log, its client of the witness protocol, our witness: three checkpoints, each from the last."""
    policy = tmp_path / "policy"
    command = [tlog, "witnessed", tmp_path / "log", policy]
    log = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    vkey = log.stdout.readline().strip()
    key, address = witness(vkey)
    policy_of(policy, key, address)
    until_open(address)
    said, problems = log.communicate("go\n", timeout=60)
    assert log.returncode == 0, problems
    checkpoint, note = LogFolder(tmp_path / "log").checkpoint(Verifier.parse(vkey))
    assert (checkpoint.size, note.decode()) == (3, said)
    with served(tmp_path / "log") as at, LogSite(at) as site:
        result = fsck(site, Verifier.parse(vkey), Policy.parse(policy.read_bytes()))
    assert (result.outcome, list(result.witnesses)) == (Outcome.VALID, ["w1"])


def until_open(address):
    """A started witness answers within seconds; the wait is on its socket."""
    for _ in range(100):
        try:
            httpx.get(f"{address}vkey", timeout=5)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(address)
