"""Kill -9 at each step of the integrator, again and again on one log, as a process on a real database.

Afterwards: no entry lost, none doubled, none in another order than its partition's, no gap, and every checkpoint that
a reader could have seen is a prefix of the next.
"""

import pickle
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from passerelle_consent.ledger.audit.findings import Outcome
from passerelle_consent.ledger.audit.folder import LogFolder
from passerelle_consent.ledger.audit.published import Absent
from passerelle_consent.ledger.audit.verify import verify
from passerelle_consent.ledger.log import tree
from passerelle_consent.ledger.log.entries import Entry
from passerelle_consent.wire import decode_journal, read_decisions
from unit.ledger.dying_integrator import PLACES
from unit.ledger.fakes import SIGNER

DYING = Path(__file__).with_name("dying_integrator.py")
S_MAX = 120
pytestmark = pytest.mark.slow


def traffic(town, rng):
    """Some steps' worth: decisions on both partitions, consents, withdrawals and their fences between them."""
    for number in range(6):
        subject = bytes([rng.randrange(9)]) * 16
        town.decide(number % 2, count=rng.randrange(100, 700), subject=subject)
        withdrawn = town.note("withdrawn", subject=subject)
        town.note("fenced", subject=subject, regarding=withdrawn.id)
    (town.folder.parent.parent / "topics").write_bytes(pickle.dumps((town.decisions, town.journal)))


def seen(town):
    """What a reader sees at this moment: the checkpoint in the folder."""
    try:
        return LogFolder(town.folder).checkpoint(SIGNER.verifier)[0]
    except Absent:
        return None


def killed(town, place, occasion):
    command = [sys.executable, str(DYING), str(town.folder.parent.parent), town.url, place, str(occasion)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=S_MAX, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("seed", [1])
def test_nothing_is_lost_doubled_or_forked_wherever_it_is_killed(town, seed):
    print(f"seed {seed}")
    rng, readers_saw = random.Random(seed), []
    for place in PLACES:
        traffic(town, rng)
        killed(town, place, rng.randrange(1, 3))
        readers_saw.append(seen(town))
    town.now_ms += 120_000
    last = town.started(holder="last")
    while (step := last.step(ahead=True)).full or step.waiting or step.decisions:
        pass
    last.resign()
    judge(town, [checkpoint for checkpoint in readers_saw if checkpoint is not None])


def judge(town, readers_saw):
    result = verify(LogFolder(town.folder), SIGNER.verifier)
    assert result.outcome is Outcome.VALID, result.findings
    bodies = town.bodies()
    hashes = [tree.leaf_hash(body) for body in bodies]
    for checkpoint in (*readers_saw, seen(town)):
        assert tree.root(checkpoint.size, tree.source_of(hashes[: checkpoint.size])) == checkpoint.root
    assert [c.size for c in readers_saw] == sorted(c.size for c in readers_saw)
    place = {ident: index for index, ident in enumerate(idents(town))}
    assert len(place) == len(bodies), "an entry is there twice"
    decided, journalled = written(town)
    assert set(place) == {ident for log in (*decided, *journalled) for ident in log}
    for log in decided:
        assert [place[ident] for ident in log] == sorted(place[ident] for ident in log)


def idents(town):
    return [Entry.parse(body).ident for body in town.bodies()]


def written(town):
    """The ids in the topics, by partition."""
    decided = [
        [ident for value in log if value is not None for ident, *_ in read_decisions(value).rows]
        for log in town.decisions.partitions
    ]
    journalled = [[decode_journal(value).id for value in log if value is not None] for log in town.journal.partitions]
    return decided, journalled
