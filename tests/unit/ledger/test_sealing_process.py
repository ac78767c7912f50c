"""The process that seals: the same log as without it, and nothing lost or left behind when either side is ended."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from passerelle_consent.ledger.audit.findings import Outcome
from passerelle_consent.ledger.audit.folder import LogFolder
from passerelle_consent.ledger.audit.verify import verify
from passerelle_consent.ledger.database.stored import verify_stored
from passerelle_consent.ledger.faults import Invalid
from passerelle_consent.ledger.integrator.integrate import Unreadable
from passerelle_consent.ledger.integrator.sealing_process import SealingAway, SealingProcess
from passerelle_consent.ledger.log.entries import TIME_MS_MAX, Entry
from passerelle_consent.ledger.log.tiles import RightEdge
from passerelle_consent.ledger.sealing.batch import SealingFault
from passerelle_consent.policy.decide import Reason, Verdict
from unit.ledger.fakes import MASTERS, ON_SQLITE, SIGNER, LedgerTown, stop_after

ENDED_S_MAX = 20
ANN, BOB = b"A" * 16, b"B" * 16
ASKING = """
import sys
from passerelle_consent.ledger.integrator.sealing_process import SealingProcess
from passerelle_consent.ledger.log.tiles import RightEdge
process = SealingProcess()
process.start(RightEdge())
print(process._process.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def sealing():
    process = SealingProcess()
    yield process
    process.close()


def live(town):
    """Two lives: one erased and linked anew, and somebody whom nobody knows."""
    town.note("linked", subject=ANN, department="schools")
    town.note("given", subject=ANN)
    town.decide(subject=ANN, count=300)
    town.decide(1, subject=BOB, count=5, verdict=Verdict.REDACT, flow=1, withheld=("phone",))
    town.decide(1, subject=b"C" * 16, verdict=Verdict.DENY, reason=Reason.UNKNOWN_SUBJECT)


def part(town):
    town.note("erased", subject=ANN)
    town.note("linked", subject=ANN, department="schools")
    town.decide(subject=ANN, count=7)


def integrated(town, **kwargs):
    integrator = town.started(**kwargs)
    live(town)
    for _ in range(4):
        integrator.step()
    part(town)
    for _ in range(6):
        integrator.step()
    integrator.resign()
    return [public(Entry.parse(body)) for body in town.bodies()]


def public(entry):
    """All but what randomness makes."""
    return entry.type, entry.decision, entry.time_ms, entry.verdict, entry.reason, entry.flow, entry.agreements


def examined(town):
    with town.store.reading() as db:
        return verify_stored(db, SIGNER.verifier, MASTERS)


@ON_SQLITE
def test_what_is_sealed_there_is_what_is_sealed_here(town, sealing, tmp_path):
    here = LedgerTown(tmp_path / "here", store_url=f"sqlite:///{tmp_path / 'here.sqlite'}")
    assert integrated(town, sealing=sealing) == integrated(here)
    here.store.close()
    assert examined(town).outcome is Outcome.VALID
    result = verify(LogFolder(town.folder), SIGNER.verifier)
    assert (result.outcome, result.size) == (Outcome.VALID, 317)


@ON_SQLITE
def test_it_seals_under_the_keys_that_are_stored(town, sealing):
    """Begun anew it knows nobody: whoever has a key keeps it, else their entries would fall apart."""
    integrator = town.started(sealing=sealing)
    live(town)
    for _ in range(4):
        integrator.step()
    integrator.resign()
    with town.store.reading() as db:
        before = db.subject_keys([ANN, BOB])
    assert set(before) == {ANN, BOB}
    integrator = town.started(sealing=sealing)
    town.decide(subject=ANN, count=3)
    integrator.step()
    with town.store.reading() as db:
        assert db.subject_keys([ANN, BOB]) == before
    assert examined(town).outcome is Outcome.VALID


@ON_SQLITE
def test_ended_in_between_it_is_begun_anew(town, sealing, monkeypatch):
    monkeypatch.setattr("passerelle_consent.ledger.integrator.integrate.RETRY_S", 0)
    monkeypatch.setattr("passerelle_consent.ledger.integrator.integrate.IDLE_S", 0)
    integrator = town.started(sealing=sealing)
    town.decide(count=3)
    integrator.step()
    os.kill(sealing._process.pid, signal.SIGKILL)
    ids = town.decide(count=4)
    with pytest.raises(SealingAway):
        integrator.step()
    seal, times = sealing.seal, iter(range(2))

    def ended_twice(*about):
        if next(times, None) is not None:
            os.kill(sealing._process.pid, signal.SIGKILL)
        return seal(*about)

    sealing.seal = ended_twice
    integrator.run(stop_after(integrator, 5))
    assert [Entry.parse(body).ident for body in town.bodies()][-4:] == ids
    assert verify(LogFolder(town.folder), SIGNER.verifier).size == 7
    assert examined(town).outcome is Outcome.VALID


@ON_SQLITE
def test_what_cannot_be_sealed_is_said_as_here(town, sealing):
    integrator = town.started(sealing=sealing)
    town.now_ms = TIME_MS_MAX + 1
    town.decide()
    town.now_ms = 0
    with pytest.raises(Invalid):
        integrator.step()
    town.decisions.partitions[0].clear()
    town.decisions.commit(0, b"garbage")
    integrator = town.started(sealing=sealing)
    with pytest.raises(Unreadable, match=r"^decisions\[0\]@0: "):
        integrator.step()


def test_nothing_is_sealed_before_it_is_begun(sealing):
    with pytest.raises(SealingAway):
        sealing.take([], set())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_it_does_not_outlive_who_asked(number):
    command, pipe = [sys.executable, "-c", ASKING], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as asking:
        watched = os.pidfd_open(int(asking.stdout.readline()))
        (os.killpg if number is signal.SIGINT else os.kill)(asking.pid, number)
        assert select.select([watched], [], [], ENDED_S_MAX)[0], "a process that seals outlives who asked"
        os.close(watched)
        _, problems = asking.communicate()
    assert problems.count("Traceback") == (number is signal.SIGINT), "who seals for another says nothing at its end"


def test_a_fault_of_the_program_is_told_by_its_place_alone(sealing):
    """What it says may be somebody's key; and it would come again, so it is not tried again."""
    sealing.start(RightEdge())
    with pytest.raises(SealingFault, match=r"^\w+Error at \w+\.py:\d+$"):
        sealing.seal(["a draft of Claire Morel"], [], {})
    assert sealing.take([], {ANN}) == {ANN}, "the process lives"


def test_a_terminated_integrator_seals_its_last_step(sealing):
    """A manager of services tells all processes of one at once."""
    sealing.start(RightEdge())
    os.kill(sealing._process.pid, signal.SIGTERM)
    assert sealing.take([], {ANN}) == {ANN}


def test_it_is_told_of_no_database(sealing, monkeypatch):
    monkeypatch.setenv("PASSERELLE_LEDGER_STORE", "postgresql://somebody:secret@db/ledger")
    sealing.start(RightEdge())
    assert b"PASSERELLE" not in Path(f"/proc/{sealing._process.pid}/environ").read_bytes()
