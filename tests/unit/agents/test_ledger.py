from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from passerelle.agents.ledger import CommitLedger, Holes


@dataclass
class Batch:
    offset: int
    acked: bool = False


def test_nothing_is_committed_past_a_batch_that_is_not_acknowledged():
    ledger = CommitLedger()
    first, second, third = batches = [Batch(9), Batch(19), Batch(29)]
    for batch in batches:
        ledger.delivered("p", batch)
    second.acked = True
    assert ledger.committable("p") is None
    first.acked = True
    assert ledger.committable("p") == 20
    assert ledger.committable("p") is None
    third.acked = True
    assert ledger.committable("p") == 30


def test_partitions_do_not_wait_for_each_other_and_a_rebalance_forgets():
    ledger = CommitLedger()
    mine, other = Batch(9), Batch(4, acked=True)
    ledger.delivered("p", mine)
    ledger.delivered("q", other)
    assert ledger.committable("q") == 5
    ledger.forget()
    mine.acked = True
    assert ledger.committable("p") is None
    assert ledger.committable("never seen") is None


@given(st.lists(st.integers(1, 5), min_size=1), st.randoms(use_true_random=False))
def test_in_whatever_order_acknowledgements_come_the_commit_is_the_acknowledged_prefix(sizes, rng):
    ledger, batches, end = CommitLedger(), [], 0
    for size in sizes:
        end += size
        batches.append(Batch(end - 1))
        ledger.delivered("p", batches[-1])
    committed = 0
    for batch in rng.sample(batches, len(batches)):
        batch.acked = True
        committed = ledger.committable("p") or committed
        prefix = [b.offset + 1 for i, b in enumerate(batches) if all(x.acked for x in batches[: i + 1])]
        assert committed == max(prefix, default=0)


def test_a_hole_is_believed_when_asking_again_gave_the_same():
    holes = Holes()
    assert holes.believed("p", 1, 10, 10)
    assert holes.believed("p", 1, 10, 7)
    assert not holes.believed("p", 1, 10, 15)
    assert holes.believed("p", 1, 10, 15)
    assert not holes.believed("p", 1, 10, 15)
    assert not holes.believed("p", 2, 10, 15)
    assert not holes.believed("p", 2, 10, 12)
    assert holes.believed("p", 2, 10, 10)
