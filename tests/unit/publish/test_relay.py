"""The relay on an outbox and a broker in memory, with the faults of both. The real ones: tests/integration."""

from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from uuid import UUID

import pytest

from passerelle.publish.batches import AHEAD_MAX, Batches
from passerelle.publish.outbox_table import BATCH_ROWS, OutboxLost, OutboxRow
from passerelle.publish.outgoing import PublishFault
from passerelle.publish.relay import RETRY_S_MAX, Relay, RelayFault
from passerelle.publish.relayed import mark, sent_last
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
        self.broker_fails = self.table_fails = self.look_fails = self.delete_fails = 0
        self.marks = {}
        self.now = 0.0
        self.full = BATCH_ROWS
        self.relay = self.another()

    def another(self):
        """A relay that starts anew, as after a crash."""
        self.started = False
        return Relay(self.connect, self, "tax", CATALOGUE, patience_s=30, clock=lambda: self.now, pause=self.pause)

    @contextmanager
    def connect(self):
        yield self

    def pause(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds

    def add(self, value=GOOD, type_=TYPE, key=b"k" * 16):
        row = next(self.ids)
        time = datetime(2026, 11, 23, tzinfo=UTC)
        self.rows[row] = OutboxRow(id=row, event_id=event(row), type=type_, pseudonym=key, time=time, value=value)
        return row

    def look(self):
        if self.look_fails and self.started:
            self.look_fails -= 1
            raise OutboxLost("gone")
        self.looks.append(self.started)
        return max(self.rows.keys() - self.refused.keys(), default=0), frozenset()

    def read(self, settled, *, after=0):
        if self.table_fails:
            self.table_fails -= 1
            raise OutboxLost("gone")
        return [row for n, row in sorted(self.rows.items()) if after < n <= settled and n not in self.refused][
            : self.full
        ]

    def delete(self, sent):
        if self.delete_fails:
            self.delete_fails -= 1
            raise OutboxLost("gone")
        for row, event_id in sent:
            if row in self.rows and self.rows[row].event_id == event_id:
                del self.rows[row]

    def refuse(self, refused):
        self.refused |= dict(refused)

    def wait(self, seconds):
        self.now += seconds

    def start(self):
        started, self.started = not self.started, True
        return started

    def last(self, topic):
        return self.marks.get(topic)

    def send(self, records):
        if self.broker_fails:
            self.broker_fails -= 1
            self.started = False
            raise BrokerAway("away")
        self.sent += records
        self.marks |= {r.topic: r.value for r in records if r.topic.startswith("relayed.")}

    def step(self):
        with Batches(self) as batches:
            self.relay.step(self, batches)

    def run(self):
        self.relay.run(lambda: False, follow=False)

    def events(self):
        """The rows of the events that were sent."""
        ids = [dict(r.headers)["ce_id"].decode() for r in self.sent if r.topic.startswith("outbox.")]
        return [UUID(one).int for one in ids]

    def letters(self):
        return [DeadLetter.decode(r.value) for r in self.sent if r.topic == "deadletter.tax"]


def event(row):
    return str(UUID(int=row))


@pytest.fixture
def world():
    return World()


def test_rows_go_in_order_and_are_forgotten(world):
    for _ in range(3):
        world.add()
    world.run()
    assert world.events() == [1, 2, 3]
    assert not world.rows


def test_what_is_read_ahead_goes_in_order_each_once(world):
    world.full = 2
    rows = [world.add() for _ in range(2 * AHEAD_MAX * world.full + 1)]
    world.run()
    assert world.events() == rows
    assert not world.rows


def test_a_batch_that_fails_goes_again_before_what_was_read_ahead(world):
    world.full = 2
    rows = [world.add() for _ in range(7)]
    world.broker_fails = 1
    world.run()
    assert world.events() == rows


def test_a_row_that_was_given_back_does_not_wait_for_the_end_of_a_full_outbox(world):
    """It lies before all that is read ahead."""
    world.full = 1
    given_back, *rest = [world.add() for _ in range(3 * AHEAD_MAX)]
    world.refused[given_back] = "mended"
    with Batches(world) as batches:
        world.relay.step(world, batches)
        del world.refused[given_back]
        for _ in range(AHEAD_MAX + 1):
            world.relay.step(world, batches)
    assert given_back in world.events()
    assert set(rest) - set(world.events())


def test_nothing_is_forgotten_before_the_broker_has_it(world):
    world.add()
    world.broker_fails = 1
    with pytest.raises(BrokerAway):
        world.step()
    assert world.rows


def test_whoever_shuts_others_out_shows_that_the_outbox_is_still_its_own_before_it_sends(world):
    world.add()
    world.step()
    assert world.looks == [False, True]
    world.add()
    world.step()
    assert world.looks == [False, True, True]


def test_what_the_bus_has_from_before_a_crash_is_forgotten_and_not_sent_again(world):
    kept = [world.add() for _ in range(3)]
    world.delete_fails = 1
    with pytest.raises(OutboxLost):
        world.step()
    late = world.add()
    world.relay = world.another()
    world.run()
    assert world.events() == [*kept, late]
    assert not world.rows
    assert (world.relay.counts.found, world.relay.counts.published) == (3, 1)


def test_a_session_that_ended_between_the_commit_and_the_forgetting_sends_nothing_twice(world):
    kept = [world.add() for _ in range(3)]
    world.delete_fails = 1
    world.run()
    assert world.events() == kept
    assert not world.rows


def test_it_knows_what_was_sent_even_when_its_session_ends_as_it_starts(world):
    row = world.add()
    world.send([mark("tax", [(row, event(row))])])
    world.look_fails = 1
    world.run()
    assert world.events() == []
    assert not world.rows


def test_a_table_that_was_made_anew_counts_from_one_and_its_rows_go(world):
    world.send([mark("tax", [(1, event(77))])])
    world.add()
    world.run()
    assert world.events() == [1]


def test_a_record_of_what_was_sent_that_is_none_holds_the_outbox(world):
    assert sent_last(None) == frozenset()
    world.marks["relayed.tax"] = b"?"
    world.add()
    with pytest.raises(PublishFault, match="cannot be read"):
        world.run()
    assert world.rows


def test_a_fault_is_tried_again_with_longer_pauses_each_time_within_bounds(world):
    world.add()
    world.broker_fails, world.table_fails = 4, 3
    world.run()
    assert world.events() == [1]
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
    assert world.events() == [1, 3]
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
    world.rows[row] = world.rows[row]._replace(value=GOOD)
    del world.refused[row]
    world.run()
    assert world.events() == [row]


def test_it_ends_between_batches_when_told(world):
    world.add()
    told = iter([False, False, True])
    world.relay.run(lambda: next(told, True))
    assert world.events() == [1]
