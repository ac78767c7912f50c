"""The relay on an outbox and a broker in memory, with the faults of both. The real ones: tests/integration."""

from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from passerelle.publish.horizon import Horizon
from passerelle.publish.outbox_table import OutboxLost, OutboxRow
from passerelle.publish.relay import RETRY_S_MAX, Relay, RelayFault
from passerelle.publish.steady import BrokerAway
from passerelle_consent.wire import DeadLetter
from passerelle_schemas.catalogue import Catalogue

CATALOGUE = Catalogue.load(Path(__file__).parents[3] / "schemas/contracts")
TYPE = "tax.income-assessed.v1"
GOOD = '{"income_year": 2025, "reference_income_cents": 1, "parts_hundredths": 100, "assessed_on": "2026-08-03"}'


class World:
    """A table, a broker, a clock."""

    def __init__(self):
        self.rows, self.refused, self.sent, self.pauses = {}, {}, [], []
        self.ids = count(1)
        self.looks, self.started = [], False
        self.broker_fails = self.table_fails = 0
        self.now = 0.0
        self.relay = Relay(
            self.connect,
            self,
            "tax",
            CATALOGUE,
            patience_s=30,
            clock=lambda: self.now,
            pause=self.pause,
        )

    @contextmanager
    def connect(self):
        yield self

    def pause(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds

    def add(self, value=GOOD, type_=TYPE, key=b"k" * 16):
        row = next(self.ids)
        time = datetime(2026, 11, 23, tzinfo=UTC)
        self.rows[row] = OutboxRow(id=row, event_id=f"e{row}", type=type_, pseudonym=key, time=time, value=value)
        return row

    def look(self):
        self.looks.append(self.started)
        return max(self.rows.keys() - self.refused.keys(), default=0), frozenset()

    def read(self, settled):
        if self.table_fails:
            self.table_fails -= 1
            raise OutboxLost("gone")
        return [row for n, row in sorted(self.rows.items()) if n <= settled and n not in self.refused]

    def delete(self, ids):
        for row in ids:
            del self.rows[row]

    def refuse(self, refused):
        self.refused |= dict(refused)

    def wait(self, seconds):
        self.now += seconds

    def start(self):
        started, self.started = not self.started, True
        return started

    def send(self, records):
        if self.broker_fails:
            self.broker_fails -= 1
            self.started = False
            raise BrokerAway("away")
        self.sent += records

    def run(self):
        self.relay.run(lambda: False, follow=False)

    def events(self):
        return [dict(r.headers)["ce_id"].decode() for r in self.sent if r.topic.startswith("outbox.")]

    def letters(self):
        return [DeadLetter.decode(r.value) for r in self.sent if r.topic == "deadletter.tax"]


@pytest.fixture
def world():
    return World()


def test_rows_go_in_order_and_are_forgotten(world):
    for _ in range(3):
        world.add()
    world.run()
    assert world.events() == ["e1", "e2", "e3"]
    assert not world.rows


def test_nothing_is_forgotten_before_the_broker_has_it(world):
    world.add()
    world.broker_fails = 1
    with pytest.raises(BrokerAway):
        world.relay.step(world, Horizon())
    assert world.rows


def test_whoever_shuts_others_out_shows_that_the_outbox_is_still_its_own_before_it_sends(world):
    world.add()
    world.relay.step(world, Horizon())
    assert world.looks == [False, True]
    world.add()
    world.relay.step(world, Horizon())
    assert world.looks == [False, True, True]


def test_a_fault_is_tried_again_with_longer_pauses_each_time_within_bounds(world):
    world.add()
    world.broker_fails, world.table_fails = 4, 3
    world.run()
    assert world.events() == ["e1"]
    assert world.pauses == [0.2, 0.4, 0.8, 1.6, 3.2, RETRY_S_MAX, RETRY_S_MAX]


def test_patience_ends(world):
    world.add()
    world.broker_fails = 1_000
    with pytest.raises(BrokerAway):
        world.run()
    assert 30 < world.now < 30 + 2 * RETRY_S_MAX


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"value": '{"income_year": "Marie"}'}, "field income_year: does not fit its type"),
        ({"value": None}, "the value is too long"),
        ({"value": '"Marie"'}, "the value is not an object"),
        ({"type_": "Marie"}, "the type is not an event that tax publishes"),
        ({"type_": "schools.meal-tariff.v1"}, "the type is not an event that tax publishes"),
        ({"key": b"short"}, "tax.income-assessed.v1: the key is not a pseudonym of 16 bytes"),
    ],
)
def test_a_bad_row_is_set_aside_with_a_letter_and_holds_nobody_up(world, bad, reason):
    world.add()
    row = world.add(**bad)
    world.add()
    world.run()
    assert world.events() == ["e1", "e3"]
    (letter,) = world.letters()
    assert (letter.component, letter.topic, letter.offset) == ("relay", "passerelle_outbox", row)
    assert letter.reason.startswith(reason)
    assert world.refused[row] == letter.reason
    assert "Marie" not in letter.reason


def test_an_outbox_of_which_no_row_fits_stops_the_flood(world, monkeypatch):
    monkeypatch.setattr("passerelle.publish.relay.REFUSED_IN_A_ROW_MAX", 3)
    for _ in range(3):
        world.add(value="{}")
    with pytest.raises(RelayFault, match="no row fits: field income_year: is missing"):
        world.run()
    assert len(world.letters()) == len(world.refused) == 3


def test_a_row_given_back_goes_with_the_same_id(world):
    row = world.add(value="{}")
    world.run()
    world.rows[row] = OutboxRow(**{**{n: getattr(world.rows[row], n) for n in OutboxRow.__slots__}, "value": GOOD})
    del world.refused[row]
    world.run()
    assert world.events() == [f"e{row}"]


def test_it_ends_between_batches_when_told(world):
    world.add()
    told = iter([False, False, True])
    world.relay.run(lambda: next(told, True))
    assert world.events() == ["e1"]
