"""The gate as its command runs it, on a real broker with the city's own rights."""

import signal

import pytest

from integration.gate_bus import CONTACT, FLOW, REPORT, Bus, origins, said, standing
from passerelle.gate.marks import exchange_origin
from passerelle_consent.policy.standing import UNKNOWN_SUBJECT, State
from passerelle_consent.wire import decision_id
from passerelle_schemas.topics import partition_of

pytestmark = pytest.mark.broker

QUICK = ("--session-ms", "2000", "--transaction-timeout-ms", "3000")


@pytest.fixture(scope="module")
def bus(city):
    return Bus(city)


@pytest.fixture(scope="module")
def worker(bus):
    """The worker of all tests but the last, which kills it. It begins without a policy, and holds."""
    (ref,), (held,) = bus.subjects(1), origins(1)
    bus.propose(ref, held)
    bus.flush()
    with bus.worker("w1", *QUICK) as worker:
        assert set(worker.lines("ready")[0]["held"].values()) == {"no-policy"}
        bus.publish_policy()
        assert len(bus.decisions([held])[held]) == 1  # held, and neither passed nor lost
        yield worker


def test_a_consenting_subjects_report_arrives_whole_under_the_departments_pseudonym(bus, worker):
    (ref,), (origin,) = bus.known_subjects(1, CONTACT), origins(1)
    bus.propose(ref, origin)
    bus.flush()
    (decision,) = bus.decisions([origin])[origin]
    (delivery,) = bus.delivered("roads", [decision.id])
    assert (decision.verdict, decision.id) == ("permit", decision_id(origin))
    assert delivery.key() == bus.city.manifest.keyring(bus.city.home).pseudonym("roads", ref)
    assert delivery.partition() == partition_of(ref, bus.partitions)
    assert delivery.value() == bus.report.encode(bus.report.example)
    assert said(delivery, "ce_flow") == FLOW
    assert said(delivery, "ce_type") == REPORT
    assert said(delivery, "ce_policy") == bus.policy.digest.hex()
    assert "ce_origin" not in dict(delivery.headers())


def test_without_consent_the_contact_is_withheld_and_the_report_arrives(bus, worker):
    (ref,), (origin,) = bus.known_subjects(1), origins(1)
    bus.propose(ref, origin)
    bus.flush()
    (decision,) = bus.decisions([origin])[origin]
    (delivery,) = bus.delivered("roads", [decision.id])
    contact = dict.fromkeys(("reporter_name", "reporter_email", "reporter_phone"))
    assert decision.verdict == "redact"
    assert set(decision.withheld) >= contact.keys()
    assert bus.report.decode(delivery.value()) | contact == bus.report.decode(delivery.value())


def test_after_the_fence_has_passed_a_withdrawal_the_contact_is_delivered_no_more(bus, worker):
    (ref,), (before, after) = bus.known_subjects(1, CONTACT), origins(2)
    bus.propose(ref, before)
    bus.flush()
    assert bus.decisions([before])[before][0].verdict == "permit"
    partition, offset = bus.stand(ref, standing(CONTACT, state=State.WITHDRAWN))
    bus.fenced(partition, offset)
    bus.propose(ref, after)
    bus.flush()
    assert bus.decisions([after])[after][0].reason == "consent-withdrawn"


def test_nobody_whom_the_bus_does_not_know_is_delivered(bus, worker):
    known, erased = bus.known_subjects(2, CONTACT)
    bus.fenced(*bus.stand(erased, UNKNOWN_SUBJECT))
    first, second, third = origins(3)
    for ref, origin in ((b"nobody linked me", first), (erased, second), (known, third)):
        bus.propose(ref, origin)
    bus.flush()
    found = bus.decisions([first, second, third])
    assert [found[o][0].reason for o in (first, second)] == ["unknown-subject", "unknown-subject"]
    assert found[third][0].verdict == "permit"


def test_garbage_leaves_a_dead_letter_and_the_stream_goes_on(bus, worker):
    (ref,), (cut, wrong, good) = bus.known_subjects(1, CONTACT), origins(3)
    before = len(bus.dead_letters(0))
    value = bus.report.encode(bus.report.example)
    bus.raw(None, b"\x93not a record")
    bus.raw(ref, value)
    bus.propose(ref, cut, value=value[:-1])
    bus.propose(ref, wrong, type_="tax.income-assessed.v1")
    bus.propose(ref, good)
    bus.flush()
    found = bus.decisions([cut, wrong, good])
    letters = bus.dead_letters(before + 4)[-4:]
    assert [found[o][0].reason for o in (cut, wrong, good)] == ["unreadable", "wrong-type", "valid-basis"]
    assert sorted(letter.reason for letter in letters) == ["unreadable"] * 3 + ["wrong-type"]
    assert all(letter.topic == "exchange" and letter.component == "gate" for letter in letters)
    at = {exchange_origin(letter.partition, letter.offset) for letter in letters if letter.rule is None}
    assert {len(decided) for decided in bus.decisions(at).values()} == {1}


def test_replays_are_dropped(bus, worker):
    refs, sent = bus.known_subjects(5), origins(50)
    for _ in range(2):
        for i, origin in enumerate(sent):
            bus.propose(refs[i % len(refs)], origin)
    last = origins(len(refs))
    for ref, origin in zip(refs, last, strict=True):
        bus.propose(ref, origin)
    bus.flush()
    assert {len(found) for found in bus.decisions([*sent, *last]).values()} == {1}


def test_a_killed_worker_loses_nothing_doubles_nothing_and_leaves_its_marks(bus, worker):
    refs, sent = bus.subjects(50, CONTACT), origins(4_000)
    leaving = bus.subjects(400)

    def propose(some):
        for i, origin in some:
            bus.propose(refs[i % len(refs)], origin)
        bus.flush()

    numbered = list(enumerate(sent))
    with bus.worker("w2", *QUICK) as other:
        propose(numbered[:2_000])
        bus.decisions(sent[:100])
        erasures = bus.erase(leaving, "roads", "tax")
        worker.end(signal.SIGKILL)
        propose(numbered[2_000:])
        found = bus.decisions(sent)
        assert {len(decided) for decided in found.values()} == {1}
        assert len(bus.delivered("roads", [decided[0].id for decided in found.values()])) == len(sent)
        for department in ("roads", "tax"):
            assert bus.told(department, erasures) == dict.fromkeys(erasures, 1)
        propose(numbered)  # all of them again, now at a worker that decided at most some of them itself
        other.wait_for("stats", lambda line: line.get("replays_dropped", 0) >= len(sent))
        assert other.end(signal.SIGTERM) == 0
    assert {len(decided) for decided in bus.decisions(sent).values()} == {1}
