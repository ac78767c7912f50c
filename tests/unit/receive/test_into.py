"""The tables of an inbox in an SQLite file, beside what the bus says: rows, ends of retentions, erasures."""

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from passerelle.cli.into import database_of
from passerelle.receive.acknowledge import NotAcknowledged
from passerelle.receive.burying import IN_A_ROW_MAX, Burying, TakesNothing
from passerelle.receive.delivery import Delivery, Erased, InboxFault
from passerelle.receive.into import AT_ONCE_MAX, COMPONENT, DDL_SQLITE, InboxTables
from passerelle.receive.positions import DDL, DatabaseFault, DatabaseLost, advance, begin, read
from passerelle.receive.sqlite import SQLite
from passerelle.receive.tidying import Tidying
from passerelle_schemas.faults import Fault

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
MARIE, PIERRE = b"\x01" * 16, b"\x02" * 16


class World:
    def __init__(self, path):
        self.path = path
        sqlite3.connect(path).executescript(DDL + DDL_SQLITE)
        self.database = SQLite(path)
        self.buried, self.told, self.kept, self.now = [], [], timedelta(days=30), NOW
        burying = Burying(COMPONENT, "schools", self.bury)
        self.tables = InboxTables(self.database, burying, lambda d: self.kept and d.appended + self.kept)
        self.tidying = Tidying(self.tables, self.tell, lambda: self.now)
        self.consent_is_there = True

    async def bury(self, letter):
        self.buried.append(letter)

    async def tell(self, erasure):
        if not self.consent_is_there:
            raise NotAcknowledged("no answer (ConnectError)")
        self.told.append(erasure)

    async def put(self, *deliveries):
        async with self.database.transaction() as transaction:
            for one in deliveries:
                await self.tables.put(one, transaction)

    async def erase(self, pseudonym, number):
        erased = Erased(erasure_id=bytes([number]) * 16, pseudonym=pseudonym, time=NOW, partition=0, offset=number)
        async with self.database.transaction() as transaction:
            await self.tables.erase(erased, transaction)

    def sql(self, statement):
        with sqlite3.connect(self.path) as connection:
            return connection.execute(statement).fetchall()


@pytest.fixture
async def world(tmp_path):
    made = World(tmp_path / "schools.db")
    yield made
    await made.database.close()


def delivery(number=1, *, who=MARIE, flow="meal-tariff.schools", age=timedelta(), **value):
    return Delivery(
        decision_id=number.to_bytes(16),
        flow=flow,
        purpose="dpv:PersonalisedBenefits",
        type="schools.meal-tariff.v1",
        event_id=f"e-{number}",
        source="/department/tax",
        pseudonym=who,
        value=value or {"tariff_band": "D", "since": NOW.date()},
        time=NOW - age,
        partition=2,
        offset=number,
        appended=NOW - age,
    )


async def test_a_delivery_is_a_row_and_the_same_one_again_is_the_same_row(world):
    await world.put(delivery(), delivery())
    ((value, until),) = world.sql("SELECT value, delete_by FROM passerelle_deliveries")
    assert value == '{"tariff_band": "D", "since": "2026-11-23"}'
    assert until == "2026-12-23T09:00:00.000Z"


async def test_the_view_shows_the_latest_by_when_it_happened(world):
    await world.put(delivery(2), delivery(1, age=timedelta(days=1)), delivery(3, who=PIERRE))
    assert world.sql("SELECT event_id FROM passerelle_current ORDER BY 1") == [("e-2",), ("e-3",)]


async def test_an_ended_retention_ends_its_row(world):
    await world.put(*(delivery(n, age=timedelta(days=30)) for n in range(1, AT_ONCE_MAX + 5)), delivery(0))
    await world.tidying.once()
    assert world.sql("SELECT event_id FROM passerelle_deliveries") == [("e-0",)]


async def test_what_nobody_knows_the_retention_of_is_not_taken(world):
    world.kept = None
    with pytest.raises(InboxFault, match="until when a delivery of meal-tariff"):
        await world.put(delivery())
    assert world.sql("SELECT * FROM passerelle_deliveries") == []


async def test_an_erasure_deletes_the_persons_rows_and_waits_until_the_department_is_done(world):
    await world.put(delivery(1), delivery(2, who=PIERRE))
    await world.erase(MARIE, 9)
    await world.erase(MARIE, 9)
    await world.tidying.once()
    assert world.sql("SELECT event_id FROM passerelle_deliveries") == [("e-2",)]
    assert world.sql("SELECT pseudonym FROM passerelle_erasures") == [(MARIE,)]
    assert world.told == []
    world.sql("UPDATE passerelle_erasures SET done_at = CURRENT_TIMESTAMP")
    await world.tidying.once()
    await world.tidying.once()
    assert world.told == [b"\x09" * 16]
    assert world.sql("SELECT pseudonym, acknowledged_at FROM passerelle_erasures") == [
        (None, "2026-11-23T09:00:00.000Z")
    ]


async def test_an_erasure_that_the_bus_could_not_be_told_of_is_told_later(world):
    await world.erase(MARIE, 9)
    world.sql("UPDATE passerelle_erasures SET done_at = CURRENT_TIMESTAMP")
    world.consent_is_there = False
    await world.tidying.once()
    world.consent_is_there = True
    await world.tidying.once()
    assert world.told == [b"\x09" * 16]


@pytest.mark.parametrize("value", [{"note": "Marie\0Curie"}, {"note": {"of": ["\0"]}}, {"rate": float("nan")}])
async def test_what_no_table_holds_is_a_dead_letter_without_content(world, value):
    await world.put(delivery(5, **value), delivery(6))
    (letter,) = world.buried
    assert (letter.component, letter.topic, letter.partition, letter.offset) == ("table", "inbox.schools", 2, 5)
    assert b"Marie" not in letter.encode()
    assert world.sql("SELECT event_id FROM passerelle_deliveries") == [("e-6",)]


async def test_a_backslash_before_u0000_is_no_zero_character(world):
    await world.put(delivery(note="\\u0000"))
    assert not world.buried


async def test_a_table_that_takes_nothing_stops_the_flood(world):
    with pytest.raises(TakesNothing, match="takes nothing: a text holds a zero character"):
        await world.put(*(delivery(n, note="\0") for n in range(IN_A_ROW_MAX)))


async def test_a_position_moves_only_from_where_it_is(world):
    database = world.database
    async with database.transaction() as transaction:
        await begin(database, transaction, "inbox.schools", 1, 7)
        await begin(database, transaction, "inbox.schools", 1, 3)
        assert not await advance(database, transaction, "inbox.schools", 1, at=3, to=9)
        assert await advance(database, transaction, "inbox.schools", 1, at=7, to=9)
        assert await read(database, transaction, "inbox.schools") == {1: 9}


async def test_what_a_handler_raises_undoes_its_transaction(world):
    async def fail():
        async with world.database.transaction() as transaction:
            await begin(world.database, transaction, "inbox.schools", 1, 7)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with world.database.transaction() as transaction:
        assert await read(world.database, transaction, "inbox.schools") == {}


async def test_a_handler_that_commits_by_itself_is_told(world):
    with pytest.raises(DatabaseFault, match="a handler ended the transaction"):
        async with world.database.transaction() as transaction:
            transaction.commit()


async def test_a_file_that_somebody_else_writes_is_lost_for_now(world, monkeypatch):
    monkeypatch.setattr("passerelle.receive.sqlite.BUSY_S", 0.0)
    other = sqlite3.connect(world.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseLost, match="cannot be written"):
        async with world.database.transaction():
            pass
    other.execute("COMMIT")
    other.close()
    await world.put(delivery())


async def test_a_file_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(DatabaseFault, match="there is no such database"):
        async with SQLite(tmp_path / "none.db").transaction():
            pass
    assert not list(tmp_path.iterdir())


def test_an_address_of_another_kind():
    with pytest.raises(Fault, match=r"postgresql://… or sqlite:///"):
        database_of("mysql://x")
