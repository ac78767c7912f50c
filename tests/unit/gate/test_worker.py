"""The loop and its tasks against a fake broker: the order of calls that makes it safe, and what each error leads to."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka import KafkaError

from passerelle.gate.clients import Timings
from passerelle.gate.load import TakeOver
from passerelle.gate.policy import policy_reader
from passerelle.gate.worker import GaveUp, Worker
from passerelle_consent.wire import (
    POLICY_KEY,
    Erasure,
    Mark,
    decode_decisions,
    decode_fence,
    decode_mark,
    encode_erasure,
    encode_mark,
    encode_standing,
    mark_key,
)
from unit.gate.fake import FakeBroker, FakeMessage, failing
from unit.gate.town import ANN, BUNDLE, KEYRING, RECIPIENTS, VALUE, headers, origin
from unit.policy.city import stance, standing

LINKED = encode_standing(standing())
GIVEN = encode_standing(standing(stance("phone", "given")))
TIMINGS = Timings(interval_ms=1, call_s=0.01)


@pytest.fixture
def broker():
    broker = FakeBroker()
    for partition in (0, 1):
        broker.write("consent", partition, POLICY_KEY, BUNDLE.pack())
        broker.write("consent", partition, ANN, LINKED)
    return broker


@pytest.fixture
def worker(broker, monkeypatch):
    monkeypatch.setattr("passerelle.gate.worker.TAKE_OVER_PAUSE_S", 0.0)
    monkeypatch.setattr("passerelle.gate.calls.BACK_OFF_S", 0.0)
    monkeypatch.setattr("passerelle.gate.calls.FENCED_BACK_OFF_S_MAX", 0.0)
    worker = Worker(clients=broker, timings=TIMINGS, keyring=KEYRING, recipients=RECIPIENTS, partitions=2, name="w1")
    worker._consumer.subscribe(
        ["exchange"], on_assign=worker._on_assign, on_revoke=worker._on_revoke, on_lost=worker._on_lost
    )
    yield worker
    worker.close()


def propose(broker, offset, *, partition=0, **about):
    broker.write("exchange", partition, ANN, VALUE, headers(at=origin(offset), **about))


def owning(broker, worker, *partitions):
    broker.rebalances.append(("on_assign", partitions))
    worker.round()


def rounds(worker, times):
    for _ in range(times):
        worker.round()


def decided(broker, partition=0):
    return [d for value in broker.values("decisions", partition) for d in decode_decisions(value).decisions]


def test_a_take_over_fences_first_then_asks_stable_then_loads_to_the_ends(broker):
    broker.offsets = {("exchange", 0): 5, ("consent", 0): 2}
    broker.write("marks", 0, mark_key(origin()), encode_mark(Mark(offset=4, n=0)))
    with ThreadPoolExecutor(1) as pool:
        take_over = TakeOver(broker, TIMINGS, policy_reader(RECIPIENTS), pool, lambda producer: producer.close())
        assert list(take_over.own([0])) == [0]
        state = take_over.learn([0], broker.consumer(None))[0]
    assert [entry[0] for entry in broker.journal] == ["init", "committed", "ends", "ends"]
    assert broker.journal[1] == ("committed", "exchange", [0])  # by the member of the group, read_committed
    assert (state.decided, state.applied, state.held) == (5, 2, None)
    assert state.marks == {mark_key(origin()): Mark(offset=4, n=0)}


def test_compaction_below_the_committed_position_does_not_move_the_fence_back(broker):
    broker.offsets = {("exchange", 0): 0, ("consent", 0): 2}
    with ThreadPoolExecutor(1) as pool:
        take_over = TakeOver(broker, TIMINGS, policy_reader(RECIPIENTS), pool, lambda producer: producer.close())
        broker.logs["consent", 0].pop()
        broker.offsets["consent", 0] = 1
        assert take_over.learn([0], broker.consumer(None))[0].applied == 1


def test_without_committed_offsets_reading_begins_at_the_first_proposal_there_is(broker):
    propose(broker, 0)
    broker.logs["exchange", 0][0]._said = ("exchange", 0, 40, *broker.logs["exchange", 0][0]._said[3:])
    with ThreadPoolExecutor(1) as pool:
        take_over = TakeOver(broker, TIMINGS, policy_reader(RECIPIENTS), pool, lambda producer: producer.close())
        assert take_over.learn([0], broker.consumer(None))[0].decided == 40
        assert take_over.first_from(0, 12) == 40


def test_a_proposal_becomes_a_delivery_a_decision_and_a_mark_in_one_transaction(broker, worker):
    propose(broker, 0)
    owning(broker, worker, 0)
    broker.journal.clear()
    worker.round()
    assert [e[2] if e[0] == "produce" else e[0] for e in broker.journal if e[0] != "seek"] == [
        "begin",
        "inbox.schools",
        "decisions",
        "marks",
        "send-offsets",
        "commit",
    ]
    assert [d.verdict for d in decided(broker)] == ["redact"]
    assert [decode_mark(v) for v in broker.values("marks", 0)] == [Mark(offset=0, n=0)]
    assert broker.logs["inbox.schools", 0][0].key() == KEYRING.pseudonym("schools", ANN)


def erase(broker, partition=0, departments=("schools", "police", "dissolved")):
    erasure = Erasure(id=b"e" * 16, revision=9, at_ms=1_790_000_000_000, departments=departments)
    broker.write("consent", partition, ANN, encode_erasure(erasure))


def test_recipients_are_told_of_an_erasure_in_the_transaction_that_commits_its_offset(broker, worker):
    owning(broker, worker, 0)
    propose(broker, 0)
    worker.round()
    erase(broker)
    broker.journal.clear()
    rounds(worker, 3)
    assert [e[2] if e[0] == "produce" else e[0] for e in broker.journal if e[0] != "seek"] == [
        "begin",
        "fence",
        "inbox.schools",
        "inbox.police",
        "send-offsets",
        "commit",
    ]
    for department in ("schools", "police"):
        notice = broker.logs[f"inbox.{department}", 0][-1]
        assert (notice.key(), notice.value()) == (KEYRING.pseudonym(department, ANN), b"")
        said = dict(notice.headers())
        assert said["ce_id"] == (b"e" * 16).hex().encode()
        assert said["ce_type"] == b"passerelle.subject-erased.v1"
        assert said["ce_time"] == b"2026-09-21T14:13:20.000Z"


@pytest.mark.parametrize("failing_call", ["produce", "send-offsets", "commit"])
def test_a_notice_that_was_not_committed_is_written_by_whoever_takes_over(broker, worker, failing_call):
    owning(broker, worker, 0)
    erase(broker)
    broker.fail(failing_call, 0, failing(KafkaError._STATE))
    rounds(worker, 4)
    assert len(broker.logs["inbox.schools", 0]) == 1
    owning(broker, worker, 0)  # taken over again: it is committed, so it is not written again
    worker.round()
    assert len(broker.producers) == 3
    assert len(broker.logs["inbox.schools", 0]) == 1


def test_an_erased_subject_is_unknown_from_then_on(broker, worker):
    erase(broker)
    propose(broker, 0)
    owning(broker, worker, 0)
    rounds(worker, 2)
    assert [d.reason for d in decided(broker)] == ["unknown-subject"]


def test_every_transaction_commits_both_offsets_under_the_captured_generation(broker, worker):
    propose(broker, 0)
    owning(broker, worker, 0)
    broker.generation = 2  # what a fresh question would answer
    worker.round()
    assert broker.offsets == {("exchange", 0): 1, ("consent", 0): 2}
    assert {entry[2] for entry in broker.calls("send-offsets")} == {"generation-1"}


def test_the_first_transaction_of_a_task_tells_the_fence_though_nothing_else_is_new(broker, worker):
    owning(broker, worker, 0)
    assert [decode_fence(v).applied for v in broker.values("fence", 0)] == [2]


def test_idle_consent_is_fenced_in_a_transaction_of_its_own(broker, worker):
    owning(broker, worker, 0)
    broker.write("consent", 0, ANN, GIVEN)
    worker.round()
    worker.round()
    assert [decode_fence(v).applied for v in broker.values("fence", 0)] == [2, 3]
    assert broker.offsets["consent", 0] == 3
    assert decided(broker) == []


def test_consent_that_is_applied_before_a_batch_decides_it(broker, worker):
    owning(broker, worker, 0)
    broker.write("consent", 0, ANN, GIVEN)
    propose(broker, 0)
    worker.round()
    assert [d.verdict for d in decided(broker)] == ["permit"]


def test_partitions_have_transactions_of_their_own(broker, worker):
    propose(broker, 0)
    propose(broker, 0, partition=1)
    owning(broker, worker, 0, 1)
    worker.round()
    assert len(decided(broker, 0)) == len(decided(broker, 1)) == 1
    assert {p.partition for p in broker.producers} == {0, 1}


def test_without_a_policy_proposals_are_held_and_decided_once_it_comes(broker, worker):
    broker.logs["consent", 0] = []
    broker.write("consent", 0, ANN, LINKED)
    propose(broker, 0)
    owning(broker, worker, 0)
    worker.round()
    assert decided(broker) == []
    assert broker.offsets == {("exchange", 0): 0, ("consent", 0): 1}
    broker.write("consent", 0, POLICY_KEY, BUNDLE.pack())
    worker.round()
    worker.round()
    assert len(decided(broker)) == 1


def test_replays_are_dropped_after_a_take_over_too(broker, worker):
    propose(broker, 0)
    owning(broker, worker, 0)
    worker.round()
    broker.rebalances += [("on_revoke", [0]), ("on_assign", [0])]
    propose(broker, 0)
    rounds(worker, 4)
    assert len(decided(broker)) == 1
    assert worker.tally["replays_dropped"] == 1


RETRIABLE = failing(KafkaError._TIMED_OUT, retriable=True)
ABORTABLE = failing(KafkaError._STATE, txn_requires_abort=True)
FENCED = failing(KafkaError._FENCED, fatal=True)
MOVED_ON = failing(KafkaError.ILLEGAL_GENERATION, txn_requires_abort=True)


@pytest.mark.parametrize("call", ["send-offsets", "commit"])
def test_a_retriable_error_repeats_the_same_call(broker, worker, call):
    owning(broker, worker, 0)
    propose(broker, 0)
    broker.fail(call, 0, RETRIABLE, RETRIABLE)
    broker.journal.clear()
    worker.round()
    assert len(broker.calls(call)) == 3
    assert broker.calls("init", "abort") == []
    assert len(decided(broker)) == 1


@pytest.mark.parametrize("call", ["begin", "produce", "send-offsets", "commit"])
@pytest.mark.parametrize(("error", "aborts"), [(ABORTABLE, 1), (MOVED_ON, 1), (FENCED, 0)])
def test_after_any_other_error_the_producer_is_thrown_away_and_the_task_taken_over(broker, worker, call, error, aborts):
    owning(broker, worker, 0)
    propose(broker, 0)
    broker.fail(call, 0, error)
    broker.journal.clear()
    rounds(worker, 4)
    assert len(broker.calls("abort")) == aborts
    assert len(broker.calls("init")) == 1
    assert len(broker.producers) == 2
    assert len(decided(broker)) == 1
    assert worker.tally["failures"] == 1


def test_a_poll_comes_between_being_fenced_and_taking_over(broker, worker):
    owning(broker, worker, 0)
    propose(broker, 0)
    broker.fail("commit", 0, FENCED)
    worker.round()
    broker.journal.clear()
    broker.rebalances.append(("on_lost", [0]))
    worker.round()
    worker.round()
    assert broker.calls("init") == []  # the poll told that the partition is not ours any more


def test_an_abort_that_fails_is_left_to_the_next_take_over(broker, worker):
    owning(broker, worker, 0)
    propose(broker, 0)
    broker.fail("commit", 0, ABORTABLE)
    broker.fail("abort", 0, FENCED)
    rounds(worker, 4)
    assert len(decided(broker)) == 1


def test_one_partition_that_cannot_be_taken_over_does_not_stop_another(broker, worker):
    propose(broker, 0, partition=1)
    broker.fail("init", 0, *[ABORTABLE] * 20)
    owning(broker, worker, 0, 1)
    worker.round()
    assert len(decided(broker, 1)) == 1
    assert broker.values("fence", 0) == []


def test_without_a_member_id_nothing_is_taken_over(broker, worker):
    broker.member = ""
    propose(broker, 0)
    owning(broker, worker, 0)
    assert broker.calls("init", "begin") == []


def test_a_revoked_partition_is_decided_no_more(broker, worker):
    owning(broker, worker, 0, 1)
    broker.rebalances += [("on_revoke", [0, 1]), ("on_assign", [1])]
    propose(broker, 0)
    rounds(worker, 3)
    assert decided(broker, 0) == []
    assert sorted(worker._slots) == [1]


def test_a_gap_that_the_log_holds_is_believed(broker, worker):
    owning(broker, worker, 0)
    propose(broker, 0)
    broker.write("exchange", 0, ANN, VALUE, headers(at=origin(5)), offset=5)
    rounds(worker, 3)
    assert [d.origin.offset for d in decided(broker)] == [0, 5]
    assert broker.offsets["exchange", 0] == 6


def test_what_the_client_skipped_is_read_again(broker, worker):
    owning(broker, worker, 0)
    for offset in range(4):
        propose(broker, offset)
    broker.skips["exchange", 0] = [{1, 2}]
    rounds(worker, 3)
    assert [d.origin.offset for d in decided(broker)] == [0, 1, 2, 3]


def test_a_client_that_skips_for_ever_ends_the_process(broker, worker):
    owning(broker, worker, 0)
    for offset in range(4):
        propose(broker, offset)
    broker.skips["exchange", 0] = [{1, 2}] * 20
    with pytest.raises(GaveUp) as raised:
        rounds(worker, 20)
    assert raised.value.exit_code == 75


def test_a_partition_that_fails_for_too_long_ends_the_process(broker, worker, monkeypatch):
    broker.fail("init", 0, *[ABORTABLE] * 100)
    owning(broker, worker, 0)
    monkeypatch.setattr("passerelle.gate.worker.time.monotonic", lambda: 10**9)
    with pytest.raises(GaveUp):
        worker.round()


def test_a_broker_that_stays_unreachable_ends_the_process(broker, worker, monkeypatch):
    owning(broker, worker, 0)
    broker.unreachable = True
    broker.on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    worker.round()
    monkeypatch.setattr("passerelle.gate.worker.time.monotonic", lambda: 10**9)
    with pytest.raises(GaveUp):
        worker.round()


def test_a_broker_that_answers_again_is_forgiven(broker, worker, monkeypatch):
    owning(broker, worker, 0)
    broker.on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    worker.round()
    monkeypatch.setattr("passerelle.gate.worker.time.monotonic", lambda: 10**9)
    worker.round()


def test_every_producer_is_closed_in_the_end(broker, worker):
    owning(broker, worker, 0)
    propose(broker, 0)
    broker.fail("commit", 0, FENCED)
    rounds(worker, 3)
    worker.close()
    assert [p.closed for p in broker.producers] == [True, True]


def test_marks_that_cannot_be_read_leave_the_partition_without_a_task(broker, worker):
    broker.write("marks", 0, mark_key(origin()), b"\x01")
    propose(broker, 0)
    owning(broker, worker, 0)
    rounds(worker, 2)
    assert decided(broker) == []
    assert worker.tally["takeovers"] == 0


def test_a_lost_consent_feed_makes_the_task_load_again(broker, worker):
    owning(broker, worker, 0)
    broker.logs["consent", 0].append(FakeMessage("consent", 0, 9, error=KafkaError(KafkaError.OFFSET_OUT_OF_RANGE)))
    worker.round()
    broker.logs["consent", 0].pop()
    rounds(worker, 2)
    assert worker.tally["failures"] == 1
    assert worker.tally["takeovers"] == 2


def test_a_worker_without_partitions_stands_by_ready(broker, worker, capsys):
    owning(broker, worker)
    assert "ready" in capsys.readouterr().out
    assert broker.calls("init", "begin") == []


def test_a_full_queue_is_waited_for(broker, worker):
    owning(broker, worker, 0)
    propose(broker, 0)
    broker.fail("produce", 0, BufferError(), BufferError())
    worker.round()
    assert len(broker.calls("poll")) == 2
    assert len(decided(broker)) == 1


def test_a_withdrawal_does_not_wait_for_the_end_of_the_interval(broker, worker, monkeypatch):
    owning(broker, worker, 0)
    worker.round()
    waits = []
    consume = worker._consumer.consume
    monkeypatch.setattr(worker._consumer, "consume", lambda most, wait_s: waits.append(wait_s) or consume(most, wait_s))
    worker.round()
    assert sum(waits) == pytest.approx(TIMINGS.interval_ms / 1000), "with nothing to tell, it waits for all of it"
    waits.clear()
    broker.write("consent", 0, ANN, GIVEN)
    worker.round()
    assert len(waits) == 1
    assert decode_fence(broker.values("fence", 0)[-1]).applied == 3


def test_what_was_polled_of_a_partition_that_goes_before_the_interval_ends_is_its_next_owners(
    broker, worker, monkeypatch
):
    owning(broker, worker, 0, 1)
    worker.round()
    propose(broker, 0)
    consume = worker._consumer.consume

    def then_revoked(most, wait_s):
        found = consume(most, wait_s)
        if found:
            broker.rebalances = [("on_revoke", (0,))]
        return found

    monkeypatch.setattr(worker._consumer, "consume", then_revoked)
    worker.round()
    assert not broker.rebalances
    assert decided(broker) == []
