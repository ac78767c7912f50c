"""What a department may publish, and what is said when it may not."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from passerelle.config import KafkaAccess
from passerelle.publish.outgoing import Outgoing, PublishFault
from passerelle.publish.producer import DepartmentProducer
from passerelle_schemas.catalogue import Catalogue, UnknownContract

CATALOGUE = Catalogue.load(Path(__file__).parents[3] / "schemas" / "contracts")
ACCESS = KafkaAccess(bootstrap_servers="127.0.0.1:1", username="tax", password="none")
GOOD = {
    "type": "tax.income-assessed.v1",
    "pseudonym": bytes(16),
    "value": CATALOGUE.by_type("tax.income-assessed.v1").example,
    "event_id": "e-1",
    "time": datetime(2026, 11, 23, 9, 30, 0, 5000, tzinfo=UTC),
}


def prepare(**changes):
    return DepartmentProducer(ACCESS, "tax", CATALOGUE).prepare(Outgoing(**(GOOD | changes)), tag=7)


def test_a_good_event_becomes_a_cloud_event():
    event = prepare()
    assert event.topic == "outbox.tax.income-assessed"
    assert event.tag == 7
    assert dict(event.headers) == {
        "ce_specversion": b"1.0",
        "content-type": b"application/avro",
        "ce_id": b"e-1",
        "ce_source": b"/department/tax",
        "ce_type": b"tax.income-assessed.v1",
        "ce_time": b"2026-11-23T09:30:00.005Z",
    }
    assert CATALOGUE.decode(event.value)[1]["reference_income_cents"] == 3_184_200


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"type": "civil-registry.birth-registered.v1"}, "is not an event that tax publishes"),
        ({"type": "tax.taxpayer-moved.v1"}, "is not an event that tax publishes"),
        ({"pseudonym": bytes(15)}, "not a pseudonym of 16 bytes"),
        ({"event_id": ""}, "the event id is not 1 to 200 characters"),
        ({"time": datetime(2026, 11, 23)}, "the time has no time zone"),  # noqa: DTZ001
        ({"value": GOOD["value"] | {"income_year": "Canari"}}, "field income_year does not fit its type"),
        ({"value": {"income_year": 2025}}, "field reference_income_cents is missing"),
        ({"value": GOOD["value"] | {"iban": "Canari"}}, "has no field iban"),
    ],
)
def test_a_bad_event_names_the_field_and_never_the_value(changes, says):
    with pytest.raises(PublishFault) as fault:
        prepare(**changes)
    assert says in str(fault.value)
    assert "Canari" not in str(fault.value)


def test_an_unknown_type():
    with pytest.raises(UnknownContract):
        prepare(type="tax.refund.v1")


def test_events_do_not_show_their_people():
    shown = repr(Outgoing(**GOOD)) + repr(prepare())
    assert "3184200" not in shown
    assert repr(bytes(16)) not in shown


async def test_nobody_answers_is_one_line_after_a_bounded_number_of_attempts(monkeypatch):
    monkeypatch.setattr("passerelle.publish.producer.FIRST_PAUSE_S", 0.001)
    with pytest.raises(PublishFault) as fault:
        async with DepartmentProducer(ACCESS, "tax", CATALOGUE):
            pass
    assert str(fault.value) == "127.0.0.1:1: the broker cannot be used (KafkaConnectionError)"
    assert fault.value.exit_code == 2
