"""The integrator against fakes of Kafka that have real offsets: order, restarts, takeovers, replays."""

import json
import subprocess
import threading
import time

import pytest
from confluent_kafka import KafkaError, TopicPartition

from passerelle_consent.ledger.audit.findings import Outcome
from passerelle_consent.ledger.audit.folder import LogFolder
from passerelle_consent.ledger.audit.verify import verify
from passerelle_consent.ledger.database.store import Store, StoreAway
from passerelle_consent.ledger.database.writer import NotLeader
from passerelle_consent.ledger.faults import Invalid, Unclear
from passerelle_consent.ledger.integrator import feed as feeds
from passerelle_consent.ledger.integrator.feed import BrokerAway, Feed, FeedFault
from passerelle_consent.ledger.integrator.files import Files
from passerelle_consent.ledger.integrator.integrate import LEASE_MS, Unreadable
from passerelle_consent.ledger.integrator.publish import FolderPublisher, PublishFault
from passerelle_consent.ledger.log.commitments import MasterKey, subject_commit
from passerelle_consent.ledger.log.entries import Entry, EntryType
from passerelle_consent.ledger.log.masters import FixedMasters
from passerelle_consent.policy.decide import Reason, Verdict
from passerelle_consent.wire import encode_journal
from unit.ledger.fakes import MASTERS, ON_SQLITE, SIGNER, FakeConsumer, stop_after

WAIT_S_MAX = 20
ANN, BOB = b"A" * 16, b"B" * 16


def run(integrator, steps=4):
    for _ in range(steps):
        integrator.step()


def said(town):
    return [Entry.parse(raw) for raw in town.bodies()]


def types(town):
    return [entry.type.value for entry in said(town)]


def valid(town):
    result = verify(LogFolder(town.folder), SIGNER.verifier)
    assert result.outcome is Outcome.VALID, result.findings
    return result


def test_an_empty_log_is_published_at_once(town):
    town.started()
    assert valid(town).size == 0


def test_decisions_and_journal_become_a_log_that_verifies(town):
    integrator = town.started()
    town.note("policy", policy=bytes(32))
    town.note("linked", department="schools")
    town.note("given")
    ids = town.decide(count=300) + town.decide(1, count=5, verdict=Verdict.REDACT, flow=1, withheld=("phone",))
    run(integrator)
    entries = said(town)
    assert types(town) == ["policy", "linked", "given"] + ["decision"] * 305
    assert {e.ident for e in entries if e.type is EntryType.DECISION} == set(ids)
    assert valid(town).size == 308
    redacted = next(e for e in entries if e.verdict is Verdict.REDACT)
    assert (redacted.flow, redacted.recipient, redacted.agreements) == ("report-filed.roads", "roads", ("phone@1",))


def test_nothing_published_or_stored_in_clear_leads_to_the_subject(town):
    integrator = town.started()
    town.note("linked", department="schools")
    town.decide(count=3)
    run(integrator)
    published = b"".join(p.read_bytes() for p in town.folder.rglob("*") if p.is_file())
    for clear in (ANN, ANN.hex().encode(), b"outbox."):
        assert clear not in published
    with town.store.reading() as db:
        assert all(ANN not in db.sealed(i) and ANN.hex().encode() not in db.sealed(i) for i in range(4))


def test_replayed_journal_rows_are_one_entry(town):
    """An outbox sends at least once: twice in a batch, and again after it was integrated."""
    integrator = town.started()
    entry = town.note("given")
    town.journal.commit(0, encode_journal(entry))
    run(integrator)
    town.journal.commit(0, encode_journal(entry))
    run(integrator)
    assert types(town) == ["given"]


def test_a_restart_reads_on_from_the_stored_offsets(town):
    run(town.started())
    town.note("given")
    town.decide(count=10)
    run(town.started())
    assert len(types(town)) == 11
    run(town.started())
    run(town.started(holder="one"))
    assert len(types(town)) == 11
    assert valid(town).size == 11


def test_a_decision_recorded_twice_by_the_gate_is_kept_and_found(town):
    """It would be a broken promise of the gate. The ledger keeps evidence; it does not tidy it away."""
    integrator = town.started()
    record = town.decision()
    town.decide(origin=record.origin)
    town.decide(origin=record.origin)
    run(integrator)
    result = verify(LogFolder(town.folder), SIGNER.verifier)
    assert result.outcome is Outcome.INVALID
    assert "has the id of an earlier one" in result.findings[0].what


# --- order -------------------------------------------------------------------------------------------------------


def test_fenced_waits_for_every_decision_committed_before_it(town):
    integrator = town.started()
    town.note("given")
    withdrawn = town.note("withdrawn")
    town.decide(count=2, flow=1)
    town.note("fenced", regarding=withdrawn.id)
    integrator.step()
    assert types(town) == ["given", "withdrawn", "decision", "decision"]
    # These were committed before the fence was seen, but after the step had noted the ends.
    town.decide(1, flow=1)
    integrator.step()
    assert types(town) == ["given", "withdrawn", "decision", "decision", "decision", "fenced"]
    assert said(town)[-1].regarding == withdrawn.id


def test_what_a_subject_does_next_stays_behind_their_fence(town):
    integrator = town.started()
    withdrawn = town.note("withdrawn")
    town.note("fenced", regarding=withdrawn.id)
    town.note("given")
    town.note("given", subject=BOB)
    integrator.step()
    assert types(town) == ["withdrawn", "given"]
    town.note("objected")
    integrator.step()
    assert types(town) == ["withdrawn", "given", "fenced", "given", "objected"]


def test_no_permit_after_fenced_however_the_steps_fall(town):
    """Seeded traffic on both topics, a step at random moments: no permit follows its fence without a new consent."""
    integrator = town.started()
    given = {}
    for _ in range(250):
        subject = bytes([town.random.randrange(5)]) * 16
        partition = subject[0] % 2
        kind = town.random.choice(["give", "withdraw", "decide", "decide", "step"])
        if kind == "give" and not given.get(subject):
            given[subject] = town.note("given", partition, subject=subject)
        elif kind == "withdraw" and given.pop(subject, None):
            withdrawn = town.note("withdrawn", partition, subject=subject)
            town.note("fenced", partition, subject=subject, regarding=withdrawn.id)
        elif kind == "decide":
            verdict = Verdict.PERMIT if given.get(subject) else Verdict.DENY
            reason = Reason.VALID_BASIS if given.get(subject) else Reason.CONSENT_WITHDRAWN
            town.decide(partition, subject=subject, verdict=verdict, reason=reason, flow=1)
        elif kind == "step":
            integrator.step()
    run(integrator)
    assert open_fences_with_permits(town) == []
    assert types(town).count("fenced") > 10
    valid(town)


def open_fences_with_permits(town):
    with town.store.reading() as db:
        keys = {s: k.open(s, MASTERS).secret for s, k in db.subject_keys([bytes([i]) * 16 for i in range(5)]).items()}
    wrong = []
    for secret in keys.values():
        fenced = False
        for index, entry in enumerate(said(town)):
            if entry.subject_commit != subject_commit(secret, entry.ident):
                continue
            fenced = entry.type is EntryType.FENCED or (fenced and entry.type is not EntryType.GIVEN)
            if fenced and entry.verdict is Verdict.PERMIT:
                wrong.append(index)
    return wrong


def test_erased_waits_too_and_takes_the_key(town):
    integrator = town.started()
    town.note("linked", department="schools")
    town.note("erased")
    integrator.step()
    town.decide(1)
    run(integrator)
    assert types(town) == ["linked", "decision", "erased"]
    with town.store.reading() as db:
        assert db.subject_keys([ANN]) == {}
    # Denied as unknown from now on: no key comes back.
    town.decide(verdict=Verdict.DENY, reason=Reason.UNKNOWN_SUBJECT)
    run(integrator)
    with town.store.reading() as db:
        assert db.subject_keys([ANN]) == {}
    valid(town)


@ON_SQLITE
def test_a_destroyed_key_is_nowhere_on_disk(town, tmp_path):
    integrator = town.started()
    town.note("linked", department="schools")
    run(integrator)
    with town.store.reading() as db:
        wrapped = db.subject_keys([ANN])[ANN].wrapped
    assert wrapped in on_disk(tmp_path)
    town.note("erased")
    with town.store.reading():  # a reader is in the way of the first attempt
        run(integrator)
    run(integrator)
    assert wrapped not in on_disk(tmp_path)
    assert ANN not in on_disk(tmp_path)


def on_disk(folder):
    """By a process of its own: closing a file here would drop the locks that SQLite holds on it in this process."""
    files = [str(path) for path in folder.rglob("*") if path.is_file()]
    return subprocess.run(["/bin/cat", *files], capture_output=True, check=True).stdout


def test_a_crash_while_an_entry_waits_loses_and_doubles_nothing(town):
    integrator = town.started()
    withdrawn = town.note("withdrawn")
    town.note("fenced", regarding=withdrawn.id)
    town.note("given")
    town.note("given", subject=BOB)
    integrator.step()
    run(town.started())
    assert sorted(types(town)) == ["fenced", "given", "given", "withdrawn"]
    subjects_entries = [t for t, e in zip(types(town), said(town), strict=True) if e.type is not EntryType.GIVEN]
    assert subjects_entries == ["withdrawn", "fenced"]


def test_one_step_has_a_bound_and_says_that_there_is_more(town, monkeypatch):
    monkeypatch.setattr("passerelle_consent.ledger.integrator.integrate.STEP_BYTES_MAX", 1000)
    integrator = town.started()
    for _ in range(100):
        town.decide(count=2)
    monkeypatch.setattr(feeds, "POLL_RECORDS_MAX", 8)
    assert integrator.step().full
    assert 0 < len(types(town)) < 200
    run(integrator, 60)
    assert len(types(town)) == 200
    assert not integrator.step().full


# --- crashes and leaders -------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for kill -9: nothing of the process goes on."""


def dying_publisher(town, at):
    """One that dies before the k-th file of a publication is in place."""
    publisher, places = FolderPublisher(town.folder, SIGNER.verifier), iter(range(at))

    class DyingFiles(Files):
        def replace(self, file):
            if next(places, None) is None:
                raise Killed
            return super().replace(file)

    publisher._files = DyingFiles(publisher._files.folder, publisher._files.drafts)
    return publisher


@pytest.mark.parametrize("at", range(8))
def test_killed_between_commit_and_publication(town, at):
    integrator = town.started()
    town.decide(count=200)
    run(integrator)
    integrator = town.started(publisher=dying_publisher(town, at))
    town.decide(count=400)
    with pytest.raises(Killed):
        run(integrator)
    left = verify(LogFolder(town.folder), SIGNER.verifier)
    assert (left.outcome, left.size) == (Outcome.VALID, 200), "readers still see the last checkpoint, whole"
    town.started()
    assert valid(town).size == 600
    assert valid(town).ahead == 0


def test_killed_before_the_commit(town):
    integrator = town.started()
    town.note("given")
    town.decide(count=5)

    def die(_checkpoint):
        raise Killed

    integrator._sign = die
    with pytest.raises(Killed):
        integrator.step()
    assert types(town) == []
    run(town.started())
    assert len(types(town)) == 6
    valid(town)


def test_an_integrator_whose_step_failed_starts_from_the_store(town):
    integrator = town.started()
    town.decide(count=5)
    failing = integrator._sign
    integrator._sign = lambda _: (_ for _ in ()).throw(BrokerAway("gone"))
    with pytest.raises(BrokerAway):
        integrator.step()
    with pytest.raises(NotLeader):
        integrator.step()
    integrator._sign = failing
    assert integrator.start()
    run(integrator)
    assert len(types(town)) == 5


def test_what_was_prepared_on_a_step_that_failed_goes_with_it(town, monkeypatch):
    """The next step is sealed while the last is committed: when that fails, neither stays, and both come again."""
    monkeypatch.setattr("passerelle_consent.ledger.integrator.integrate.STEP_BYTES_MAX", 1)
    monkeypatch.setattr(feeds, "POLL_RECORDS_MAX", 1)
    integrator = town.started()
    ids = [ident for _ in range(6) for ident in town.decide(count=5)]
    signing, fails = integrator._sign, [True]

    def once(checkpoint):
        if fails and checkpoint.size:
            fails.pop()
            raise StoreAway("gone")
        return signing(checkpoint)

    integrator._sign = once
    assert integrator.step(ahead=True).full
    with pytest.raises(StoreAway):
        integrator.step(ahead=True)
    assert types(town) == []
    assert integrator.start()
    while integrator.step(ahead=True).full:
        pass
    integrator.resign()
    assert [entry.ident for entry in said(town)] == ids
    assert valid(town).size == 30


@pytest.fixture
def backlog(town, monkeypatch):
    """Six steps of five decisions each, and an integrator that leads and has done one."""
    monkeypatch.setattr("passerelle_consent.ledger.integrator.integrate.STEP_BYTES_MAX", 1)
    monkeypatch.setattr(feeds, "POLL_RECORDS_MAX", 1)
    integrator = town.started()
    town.decide(count=5)
    integrator.step()  # which sweeps, and so waits, since a last life may have left something
    for _ in range(6):
        town.decide(count=5)
    return integrator


def test_one_step_is_committed_while_the_one_before_is_published(town, backlog):
    publish, may, published = backlog._publisher.publish, threading.Event(), []

    def waiting(source, head):
        assert may.wait(WAIT_S_MAX)
        publish(source, head)
        published.append(head.checkpoint.size)

    backlog._publisher.publish = waiting
    backlog.step(ahead=True)
    backlog.step(ahead=True)
    end = time.monotonic() + WAIT_S_MAX
    while len(types(town)) < 15:
        assert time.monotonic() < end, "the second step waits for the first to be published"
    assert valid(town).size == 5
    may.set()
    while backlog.step(ahead=True).full:
        pass
    backlog.resign()
    assert published == [10, 15, 20, 25, 30, 35]
    assert valid(town).size == 35


def test_a_publication_that_fails_ends_the_step_after_it(town, backlog):
    """That one is committed, and no other: who starts again publishes both before it goes on."""
    publish, faults = backlog._publisher.publish, [PublishFault("full")]

    def failing(source, head):
        if faults:
            raise faults.pop()
        publish(source, head)

    backlog._publisher.publish = failing
    backlog.step(ahead=True)
    backlog.step(ahead=True)
    with pytest.raises(PublishFault):
        backlog.step(ahead=True)
    assert (len(types(town)), valid(town).size) == (15, 5)
    assert backlog.start()
    assert valid(town).size == 15
    while backlog.step(ahead=True).full:
        pass
    backlog.resign()
    assert valid(town).size == 35


def test_one_leads_and_another_waits_for_its_end(town):
    one = town.started(holder="one")
    two = town.integrator(holder="two")
    assert not two.start()
    one.resign()
    assert two.start()
    assert not one.start()


def test_a_leader_that_died_is_followed_after_its_lease(town):
    town.started(holder="one")
    two = town.integrator(holder="two")
    town.now_ms += LEASE_MS - 1
    assert not two.start()
    town.now_ms += 1
    assert two.start()


def test_a_leader_that_slept_commits_nothing_and_publishes_nothing_old(town):
    one = town.started(holder="one")
    town.decide(count=3)
    town.now_ms += LEASE_MS
    two = town.started(holder="two")
    town.decide(count=3)
    run(two)
    with pytest.raises(NotLeader):
        one.step()
    one.publish()
    assert valid(town).size == 6
    assert len(types(town)) == 6


def test_a_lease_is_renewed_while_idle(town):
    one = town.started(holder="one")
    for _ in range(10):
        town.now_ms += LEASE_MS // 2
        one.step()
    assert not town.integrator(holder="two").start()


def test_an_older_database_does_not_sign_again(town, tmp_path):
    """A restored backup would fork the log: the folder's own checkpoint gives it away."""
    integrator = town.started()
    town.decide(count=10)
    run(integrator)
    older = Store(f"sqlite:///{tmp_path / 'older.sqlite'}")
    with pytest.raises(Invalid, match="is ahead of the database"):
        town.integrator(store=older).start()
    town.decide(count=10)
    older_publisher = FolderPublisher(tmp_path / "elsewhere", SIGNER.verifier)
    other = town.integrator(store=older, publisher=older_publisher)
    other._random = lambda n: b"\x07" * n
    assert other.start()
    run(other)
    with pytest.raises(Invalid, match="is not of the database's history"):
        town.integrator(store=older).start()
    older.close()


def test_a_bent_tile_in_the_database_ends_signing(town):
    integrator = town.started()
    town.decide(count=300)
    run(integrator)
    with town.store.writing() as db:
        db.put_tiles({(0, 1): bytes(44 * 32)})
    town.decide()
    with pytest.raises(Invalid, match="not the one signed at size 300"):
        run(integrator)
    with pytest.raises(Invalid, match="not the one signed at size 300"):
        town.integrator().start()


def test_the_wrong_master_key_ends_it(town):
    integrator = town.started()
    town.decide()
    run(integrator)
    other = town.integrator(masters=FixedMasters(MasterKey.of(bytes(32))))
    assert other.start()
    town.decide()
    with pytest.raises(Unclear, match="wrapped by another master key"):
        run(other)
    assert len(types(town)) == 1


def test_a_folder_that_was_taken_away_is_written_anew(town):
    integrator = town.started()
    town.decide(count=700)
    run(integrator)
    town.folder.rename(town.folder.with_name("away"))
    town.started()
    assert valid(town).size == 700


def test_partials_go_when_their_tile_is_full(town):
    integrator = town.started()
    for _ in range(5):
        town.decide(count=100)
        run(integrator)
    names = {p.relative_to(town.folder).as_posix() for p in town.folder.rglob("*") if p.is_file()}
    assert names == {
        "checkpoint",
        *(f"tile/{kind}/{name}" for kind in ("0", "entries") for name in ("000", "001.p/44", "001.p/144", "001.p/244")),
        "tile/1/000.p/1",
    }
    valid(town)


# --- the component ---------------------------------------------------------------------------------------------------


def test_run_says_when_it_is_ready_and_gives_the_lead_back(town):
    town.decide(count=5)
    integrator = town.integrator()
    told = []
    integrator.run(stop_after(integrator, 1), ready=lambda: told.append(len(list(town.folder.iterdir()))))
    assert told == [1]
    assert valid(town).size == 5
    assert town.integrator(holder="two").start()


def test_run_outlasts_a_publication_and_a_broker_that_fail(town, monkeypatch):
    monkeypatch.setattr("passerelle_consent.ledger.integrator.integrate.RETRY_S", 0)
    monkeypatch.setattr("passerelle_consent.ledger.integrator.integrate.IDLE_S", 0)
    town.decide(count=5)
    integrator = town.integrator()
    publisher, faults = integrator._publisher.publish, [PublishFault("full"), None, PublishFault("full")]

    def failing(reader, head):
        if fault := (faults.pop() if faults else None):
            raise fault
        publisher(reader, head)

    integrator._publisher.publish = failing
    ends = integrator._decisions.ends
    away = [BrokerAway("gone"), BrokerAway("gone")]

    def failing_ends():
        if away:
            raise away.pop()
        return ends()

    integrator._decisions.ends = failing_ends
    integrator.run(stop_after(integrator, 5))
    assert valid(town).size == 5


def test_run_gives_up_at_last(town, monkeypatch):
    monkeypatch.setattr("passerelle_consent.ledger.integrator.integrate.RETRY_S", 0)
    monkeypatch.setattr("passerelle_consent.ledger.integrator.integrate.RETRIES_MAX", 3)
    integrator = town.integrator()

    def gone():
        raise BrokerAway("gone")

    integrator._decisions.ends = gone
    with pytest.raises(BrokerAway):
        integrator.run(stop_after(integrator, 100))


# --- feeds ---------------------------------------------------------------------------------------------------------


def test_garbage_stops_the_ledger_and_names_the_place(town):
    integrator = town.started()
    town.decide()
    run(integrator)
    town.decisions.commit(0, b"garbage")
    with pytest.raises(Unreadable, match=r"^decisions\[0\]@2: "):
        run(integrator)
    town.journal.commit(1, b"\x01garbage")
    with pytest.raises(Unreadable, match=r"^consent\.journal\[1\]@0: "):
        run(town.started())
    assert len(types(town)) == 1


def test_records_that_are_gone_are_a_gap(town):
    consumer = FakeConsumer(town.decisions, first=3)
    town.decide(count=1)
    with pytest.raises(FeedFault, match=r"decisions\[0\]: records 0 to 2 are gone"):
        Feed(consumer, "decisions").start({})


def test_a_topic_that_was_made_anew_is_noticed(town):
    with pytest.raises(FeedFault, match=r"decisions\[1\]: ends at 0, and the ledger has integrated up to 9"):
        Feed(FakeConsumer(town.decisions), "decisions").start({0: 0, 1: 9})


def test_a_topic_that_does_not_exist_says_what_to_run(town):
    with pytest.raises(FeedFault, match="no such topic") as caught:
        Feed(FakeConsumer(town.decisions), "nowhere").start({})
    assert "city apply" in caught.value.hint


def test_errors_that_pass_are_waited_out_and_others_are_not(town):
    consumer = FakeConsumer(town.decisions)
    town.decide()
    feed = Feed(consumer, "decisions")
    feed.start({})
    consumer.fail_with = [KafkaError(KafkaError._TRANSPORT)]
    assert len(feed.take(feed.ends(), polls_max=5, bytes_max=1000)) == 1
    town.decide()
    consumer.fail_with = [KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)]
    with pytest.raises(FeedFault, match="TOPIC_AUTHORIZATION_FAILED"):
        feed.take(feed.ends(), polls_max=5, bytes_max=1000)


def test_what_came_after_the_ends_waits_for_the_next_step(town):
    consumer = FakeConsumer(town.decisions)
    feed = Feed(consumer, "decisions")
    feed.start({})
    town.decide()
    ends = feed.ends()
    town.decide()
    assert [r.offset for r in feed.take(ends, polls_max=3, bytes_max=10**6)] == [0]
    assert feed.positions[0] == 1
    assert [r.offset for r in feed.take(feed.ends(), polls_max=3, bytes_max=10**6)] == [2]
    assert feed.positions[0] == 4
    assert consumer.get_watermark_offsets(TopicPartition("decisions", 0)) == (0, 4)


def test_the_canonical_line_has_counts_and_no_identity(town, capsys):
    integrator = town.started()
    town.note("linked", department="schools")
    town.decide(count=2)
    integrator.step()
    line = capsys.readouterr().out
    assert "decisions=2" in line or '"decisions": 2' in line
    assert ANN.hex() not in line
    assert json.dumps(ANN.hex()) not in line
