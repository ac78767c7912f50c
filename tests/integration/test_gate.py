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
    bus = Bus(city)
    held_first = origins(1)
    (ref,) = bus.subjects(1)
    bus.propose(ref, held_first[0])
    bus.flush()
    with bus.worker("first") as first:
        # No policy yet: the gate is up and holds. What it held is decided once the policy is there.
        assert set(first.lines("ready")[0]["held"].values()) == {"no-policy"}
        bus.publish_policy()
        assert len(bus.decisions(held_first)[held_first[0]]) == 1
        assert first.end(signal.SIGTERM) == 0
    return bus


@pytest.fixture
def worker(bus):
    with bus.worker("w1", *QUICK) as worker:
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


def test_replays_are_dropped_even_by_another_worker(bus):
    refs, sent = bus.subjects(20), origins(20)
    for _ in range(2):
        with bus.worker("w1", *QUICK) as worker:
            for ref, origin in zip(refs, sent, strict=True):
                bus.propose(ref, origin)
            (last,) = origins(1)
            for ref in refs:
                bus.propose(ref, last)
            bus.flush()
            bus.decisions([*sent, last])
            assert worker.end(signal.SIGTERM) == 0
    assert worker.lines("stats")[-1]["replays_dropped"] >= 20
    assert {len(found) for found in bus.decisions(sent).values()} == {1}


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


def test_a_killed_worker_loses_nothing_and_doubles_nothing(bus):
    refs, sent = bus.subjects(200, CONTACT), origins(6_000)
    with bus.worker("w1", *QUICK) as first, bus.worker("w2", *QUICK) as second:
        for i, origin in enumerate(sent):
            bus.propose(refs[i % len(refs)], origin)
            if i == len(sent) // 3:
                bus.flush()
                bus.decisions(sent[:100])
                first.end(signal.SIGKILL)
        bus.flush()
        found = bus.decisions(sent)
        assert {len(decided) for decided in found.values()} == {1}
        delivered = bus.delivered("roads", [decided[0].id for decided in found.values()])
        assert len(delivered) == len(sent)
        assert second.end(signal.SIGTERM) == 0
