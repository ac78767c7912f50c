"""A log is judged the same by one process and by several, and several leave none behind."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from passerelle_consent.ledger.audit import readers
from passerelle_consent.ledger.audit.findings import Outcome
from passerelle_consent.ledger.audit.folder import LogFolder
from passerelle_consent.ledger.audit.site import LogSite
from passerelle_consent.ledger.audit.verify import fsck, verify
from passerelle_consent.ledger.log.tiles import TILE_WIDTH
from unit.ledger.fakes import SIGNER, entry, forge

VERIFIER = SIGNER.verifier
BUNDLES = 6
SIZE = BUNDLES * TILE_WIDTH - 100
ENDED_S_MAX = 20

READING = """
import signal
import sys
from pathlib import Path
from passerelle_consent.ledger.audit import readers
from passerelle_consent.ledger.audit.folder import LogFolder
from passerelle_consent.ledger.audit.verify import fsck
from passerelle_consent.ledger.log.note import Verifier

def progress(read, size):
    print(read, size, flush=True)
    sys.stdin.readline()

# Whoever runs the tests in the background has had it ignored, and that is inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)
readers.RUN = 1
fsck(LogFolder(Path(sys.argv[1])), Verifier.parse(sys.argv[2]), processes=2, progress=progress)
"""


@pytest.fixture(autouse=True)
def bundle_by_bundle(monkeypatch):
    """Each process reads every other bundle."""
    monkeypatch.setattr(readers, "RUN", 1)


@pytest.fixture
def log(tmp_path):
    forge(tmp_path / "log", [entry(number) for number in range(SIZE)])
    return tmp_path / "log"


def both(folder):
    """What one process and two say, which must be the same in every word."""
    said = [[read(LogFolder(folder), VERIFIER, processes=n) for read in (fsck, verify)] for n in (1, 2)]
    assert said[0] == said[1]
    return said[0]


def found(folder):
    return [[(finding.file, finding.what) for finding in result.findings] for result in both(folder)]


def bend(file, at=-1):
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


def test_a_sound_log(log):
    hashed, read = both(log)
    assert (hashed.outcome, hashed.size, read.outcome) == (Outcome.VALID, SIZE, Outcome.VALID)
    assert read.entries == {"key": SIZE}


@pytest.mark.parametrize(
    ("kind", "what"),
    [("entries", "its entries are not those that were signed"), ("0", "does not hold the hashes of its entries")],
)
def test_a_flipped_byte_is_found_and_named_whoever_reads_it(log, kind, what):
    """One in what each of the two reads, and one in the partial bundle or tile at the end."""
    bent = [f"tile/{kind}/002", f"tile/{kind}/003", f"tile/{kind}/005.p/{SIZE % TILE_WIDTH}"]
    for file in bent:
        bend(log / file)
    assert found(log)[0] == [(file, what) for file in bent]


def test_what_is_missing_or_cut_off_is_told_at_the_same_place(log):
    (log / "tile/0/001").unlink()
    (log / "tile/0/002").write_bytes(b"short")
    cut = log / "tile/entries/003"
    cut.write_bytes(cut.read_bytes()[:-1])
    (log / "tile/entries/004").unlink()  # behind what ends the reading
    assert (
        found(log)
        == [
            [
                ("tile/0/001", "is missing"),
                ("tile/0/002", "5 bytes are no tile of 256 hashes"),
                ("tile/entries/003", "truncated in entry 255"),
            ]
        ]
        * 2
    )


def test_no_entry_and_an_id_that_two_processes_have_read(tmp_path):
    entries = [entry(number) for number in range(SIZE)]
    entries[300] = b"{}"
    entries[1000], entries[1001] = entry(5), entry(999)
    forge(tmp_path, entries)
    assert found(tmp_path) == [
        [],
        [
            ("tile/entries/001", "entry 300: the entry is not an object of a known version"),
            ("tile/entries/003", "entry 1000 has the id of an earlier one"),
            ("tile/entries/003", "entry 1001 has the id of an earlier one"),
        ],
    ]


def test_a_process_that_ends_leaves_it_unclear(log, monkeypatch):
    """Killed for want of memory, say: nothing is taken for granted."""
    monkeypatch.setattr(readers.sys, "executable", "/bin/true")
    result = fsck(LogFolder(log), VERIFIER, processes=2)
    assert (result.outcome, result.findings[0].file) == (Outcome.UNCLEAR, str(log))
    assert result.findings[0].what == "a process that read it was ended"


def test_a_log_that_is_small_or_of_this_process_alone_is_read_here():
    folder = LogFolder(Path("anywhere"))
    site = LogSite("https://log.example", transport=httpx.MockTransport(lambda _: httpx.Response(404)))
    assert readers.how_many(folder, readers.HASHED_MIN - 1, parses=False) == 1
    assert readers.how_many(site, 10**9, parses=False) == 1
    assert readers.how_many(folder, 10**9, parses=True) == min(len(os.sched_getaffinity(0)), readers.PROCESSES_MAX)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_reading_leaves_no_process(log, number):
    command = [sys.executable, "-c", READING, log, VERIFIER.encode()]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as asking:
        assert asking.stdout.readline() == f"{TILE_WIDTH} {SIZE}\n"
        children = Path(f"/proc/{asking.pid}/task/{asking.pid}/children").read_text().split()
        watched = [os.pidfd_open(int(child)) for child in children]
        # A terminal's Ctrl-C is told to all that the command has started.
        (os.killpg if number is signal.SIGINT else os.kill)(asking.pid, number)
        assert len(watched) == 2
        for process in watched:
            assert select.select([process], [], [], ENDED_S_MAX)[0], "a process that reads outlives who asked"
            os.close(process)
        _, problems = asking.communicate()
    assert ("KeyboardInterrupt" in problems) == (number is signal.SIGINT)
    assert problems.count("Traceback") <= 1, "who reads for another says nothing at its end"
