"""The index says where entries stand, and nothing else than the log: against a reading of all of it."""

import random
import sqlite3
from datetime import datetime

import pytest

from passerelle_consent.ledger.audit.folder import LogFolder
from passerelle_consent.ledger.faults import Invalid
from passerelle_consent.ledger.log.entries import Entry, EntryType
from passerelle_consent.ledger.query.counts import By, Every
from passerelle_consent.ledger.query.follow import Follower
from passerelle_consent.ledger.query.index import Index
from passerelle_consent.ledger.query.select import Selection, Shape
from passerelle_consent.policy.decide import Reason, Verdict
from unit.ledger.fakes import SIGNER

HOUR_MS = 3_600_000
SEED = 20_261_126


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def index_url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/index.sqlite"
    return request.getfixturevalue("postgresql").database()


@pytest.fixture
def index(index_url):
    index = Index(index_url)
    yield index
    index.close()


def follow(town, index):
    return Follower(LogFolder(town.folder), lambda: SIGNER.verifier, index).catch_up()


def integrate(integrator):
    while (step := integrator.step()).full or step.decisions or step.journal or step.waiting:
        pass


@pytest.fixture
def lived(town):
    """Some 900 entries of some hours, in which a few come in late."""
    print(f"seed {SEED}")
    draw = random.Random(SEED)
    integrator, start = town.started(), town.now_ms
    outcomes = [(Verdict.PERMIT, Reason.VALID_BASIS)] * 6 + [(Verdict.DENY, r) for r in list(Reason)[1:5]]
    for number in range(60):
        town.now_ms = start + number * 11 * 60_000 - draw.choice([0, 0, 0, 3 * HOUR_MS])
        verdict, reason = draw.choice(outcomes)
        town.decide(count=draw.randrange(1, 30), verdict=verdict, reason=reason, flow=draw.randrange(2))
        if number % 7 == 0:
            town.note("given", department="tax")
            town.note("withdrawn", department="roads")
        integrate(integrator)
    return town


def by_reading(town, wanted):
    return [i for i, raw in enumerate(town.bodies()) if wanted.matches(Entry.parse(raw))]


def selections(town):
    first, last = town.bodies()[0], town.bodies()[-1]
    start, end = Entry.parse(first).time_ms, Entry.parse(last).time_ms
    yield Selection()
    yield Selection(type=EntryType.GIVEN)
    yield Selection(verdict=Verdict.DENY)
    yield Selection(reason=Reason.CONSENT_REFUSED, flow="meal-tariff.schools")
    yield Selection(recipient="roads")
    yield Selection(department="roads")
    yield Selection(department="nobody")
    yield Selection(agreement="household")
    yield Selection(agreement="household@2", verdict=Verdict.PERMIT)
    yield Selection(agreement="household@3")
    yield Selection(agreement="house")
    yield Selection(since_ms=start + 2 * HOUR_MS)
    yield Selection(until_ms=end - 2 * HOUR_MS, verdict=Verdict.DENY)
    yield Selection(since_ms=start + HOUR_MS + 1, until_ms=start + HOUR_MS + 7 * 60_000)
    yield Selection(since_ms=end + HOUR_MS)
    yield Selection(ident=Entry.parse(town.bodies()[100]).ident)
    yield Selection(ident=Entry.parse(town.bodies()[100]).ident, flow="another")
    yield Selection(ident=bytes(16))


def test_what_is_found_is_what_a_reading_of_the_log_finds(lived, index):
    assert follow(lived, index) == len(lived.bodies())
    for wanted in selections(lived):
        expected = by_reading(lived, wanted)
        with index.reading() as db:
            assert db.newest(wanted, before=None, limit=10_000) == expected[::-1], wanted
            assert list(db.all(wanted, limit=10_000)) == expected, wanted
            assert db.newest(wanted, before=400, limit=20) == [i for i in expected if i < 400][-20:][::-1], wanted
            between = list(db.all(wanted, start=200, end=500, limit=10_000))
            assert between == [i for i in expected if 200 <= i < 500], wanted
            assert len(db.all(wanted, limit=3)) == min(3, len(expected))


def test_the_bytes_of_an_entry_never_rule_out_one_that_is_wanted(lived):
    for wanted in selections(lived):
        for raw in lived.bodies():
            assert wanted.may_match(raw) or not wanted.matches(Entry.parse(raw)), wanted
        if wanted != Selection():
            assert not all(wanted.may_match(raw) for raw in lived.bodies()), wanted


def test_counts_are_those_of_a_reading(lived, index):
    follow(lived, index)
    entries = [Entry.parse(raw) for raw in lived.bodies()]
    wanted = Selection(type=EntryType.DECISION)
    for by in By:
        for every in Every:
            expected = {}
            for entry in entries:
                if wanted.matches(entry):
                    for value in by.values(Shape.of(entry)):
                        key = every.start(entry.time_ms), value
                        expected[key] = expected.get(key, 0) + 1
            with index.reading() as db:
                assert {(c.start_ms, c.value): c.count for c in db.counts(wanted, by, every)} == expected, (by, every)


def test_it_goes_on_from_where_it_was_and_any_number_may_follow(lived, index, index_url):
    integrator = lived.started()
    other = Index(index_url)
    followers = [Follower(LogFolder(lived.folder), lambda: SIGNER.verifier, i) for i in (index, other)]
    for size in (0, 1, 255, 256, 300):
        if size:
            lived.decide(count=size)
            integrate(integrator)
        for follower in followers:
            assert follower.catch_up() == len(lived.bodies())
    with index.reading() as db:
        assert db.all(Selection(), limit=10_000) == range(len(lived.bodies()))
    other.close()


def test_a_step_that_another_has_done_changes_nothing(lived, index, monkeypatch):
    follower = Follower(LogFolder(lived.folder), lambda: SIGNER.verifier, index)
    extend, raced = index.extend, []

    def overtaken(batch, **step):
        if not raced:
            raced.append(extend(batch, **step))
        return extend(batch, **step)

    monkeypatch.setattr(index, "extend", overtaken)
    assert follower.catch_up() == len(lived.bodies())
    with index.reading() as db:
        assert sum(c.count for c in db.counts(Selection(), By.TYPE, Every.DAY)) == len(lived.bodies())


def test_another_history_is_not_indexed(lived, index):
    follow(lived, index)
    with index._engine.begin() as db:
        db.exec_driver_sql("UPDATE index_reached SET size = size - 1")
    with pytest.raises(Invalid, match="of another history"):
        follow(lived, index)


def test_entries_that_were_not_signed_are_not_indexed(lived, index):
    bundle = lived.folder / "tile/entries/000"
    bundle.write_bytes(bundle.read_bytes().replace(b'"permit"', b'"redact"', 1))
    with pytest.raises(Invalid, match="not those that were signed"):
        follow(lived, index)
    with index.reading() as db:
        assert db.reached().size == 0


def test_an_entry_that_cannot_be_read_is_named(lived, index):
    bundle = lived.folder / "tile/entries/000"
    bundle.write_bytes(bundle.read_bytes().replace(b'"type":"decision"', b'"tipe":"decision"', 1))
    with pytest.raises(Invalid, match=r"entry \d+ cannot be read"):
        follow(lived, index)


def test_an_index_of_another_layout_is_made_anew(lived, tmp_path):
    url = f"sqlite:///{tmp_path}/index.sqlite"
    first = Index(url)
    follow(lived, first)
    first.close()
    with sqlite3.connect(f"{tmp_path}/index.sqlite") as db:
        db.execute("UPDATE index_reached SET layout = 0")
    with Index(url, read_only=True).reading() as db:
        assert db.reached().size == 0
    assert follow(lived, Index(url)) == len(lived.bodies())


@pytest.mark.parametrize(
    ("every", "at", "start", "after"),
    [
        (Every.HOUR, "2026-03-29T01:59:59.999+00:00", "2026-03-29T01:00:00+00:00", "2026-03-29T02:00:00+00:00"),
        (Every.DAY, "2026-03-29T01:59:59.999+00:00", "2026-03-29T00:00:00+00:00", "2026-03-30T00:00:00+00:00"),
        (Every.MONTH, "2026-01-31T23:00:00+00:00", "2026-01-01T00:00:00+00:00", "2026-02-01T00:00:00+00:00"),
        (Every.MONTH, "2026-12-01T00:00:00+00:00", "2026-12-01T00:00:00+00:00", "2027-01-01T00:00:00+00:00"),
    ],
)
def test_hours_days_and_months_of_utc(every, at, start, after):
    at, start, after = (int(datetime.fromisoformat(t).timestamp() * 1000) for t in (at, start, after))
    assert every.start(at) == start
    assert every.after(start) == after
    assert every.back(after, 1) == start
    assert every.back(start, 10_000_000) == 0
