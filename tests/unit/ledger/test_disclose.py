"""A person's entries: found by the index, opened, in order, and gone with the key."""

import pytest
import sqlalchemy as sa

from passerelle_consent.ledger.database.store import Store, StoreAway
from passerelle_consent.ledger.log.commitments import handle
from passerelle_consent.ledger.query import disclose
from passerelle_consent.ledger.query.select import Selection
from passerelle_consent.policy.decide import Verdict
from unit.ledger.fakes import MASTERS, ON_SQLITE

MARIE, JEAN = b"M" * 16, b"J" * 16


def everything(integrator):
    while (step := integrator.step()).full or step.decisions or step.journal:
        pass


def shown(town, subject=MARIE, *, before=None, limit=10_000, **kwargs):
    with town.store.reading() as db:
        key = disclose.key_of(db, MASTERS, subject)
        return [] if key is None else disclose.newest(db, key, before=before, limit=limit, **kwargs)


def handles(town):
    with town.store.reading() as db:
        return list(db._db.scalars(sa.text("SELECT handle FROM private_parts ORDER BY idx")))


def test_a_subject_finds_its_entries_and_no_others_newest_first(town):
    integrator = town.started()
    mine = town.decide(subject=MARIE, withheld=("phone",))
    town.decide(subject=JEAN)
    mine += town.decide(subject=MARIE)
    everything(integrator)
    found = shown(town)
    assert [o.entry.ident for o in found] == mine[::-1]
    assert [o.index for o in found] == [2, 0]
    assert found[1].private["withheld"] == ["phone"]
    assert found[1].private["subject"] == MARIE.hex()


def test_pages_are_whole_while_new_entries_come_in(town):
    integrator = town.started()
    expected = town.decide(subject=MARIE, count=40)[::-1]
    everything(integrator)
    seen, before = [], None
    while page := shown(town, before=before, limit=7):
        seen += [o.entry.ident for o in page]
        before = page[-1].index
        town.decide(subject=MARIE, count=3)
        everything(integrator)
    assert seen == expected


def test_what_is_not_wanted_is_left_out_and_pages_stay_full(town):
    integrator = town.started()
    for number in range(disclose.READ_AT_ONCE // 10):
        town.decide(subject=MARIE, verdict=Verdict.DENY if number % 25 == 0 else Verdict.PERMIT, count=20)
    everything(integrator)
    denied = shown(town, limit=30, wanted=Selection(verdict=Verdict.DENY))
    assert len(denied) == 30
    assert {o.entry.verdict for o in denied} == {Verdict.DENY}


@ON_SQLITE
def test_a_page_is_read_through_the_index_however_long_the_history(town):
    """A plan without a scan is what keeps it fast, and it can be seen without a clock."""
    asked = []
    sa.event.listen(town.store._engine, "before_cursor_execute", lambda *said: asked.append(said[2:4]))
    with town.store.reading() as db:
        db.listed(b"h" * 16, end=10, count=51)
        plan = db._db.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked[-1][0]}", asked[-1][1]).all()
    assert "INDEX private_parts_by_subject (handle=? AND idx>? AND idx<?)" in plan[0][3]
    assert not any("SCAN" in row[3] or "TEMP B-TREE" in row[3] for row in plan)


def test_after_an_erasure_nothing_is_listed_under_the_old_handle(town):
    integrator = town.started()
    town.decide(subject=MARIE, count=3)
    town.decide(subject=JEAN)
    everything(integrator)
    with town.store.reading() as db:
        old = disclose.key_of(db, MASTERS, MARIE).handle
    town.note("erased", subject=MARIE)
    everything(integrator)
    everything(integrator)
    assert shown(town) == []
    assert old not in handles(town)
    assert [h is None for h in handles(town)] == [True, True, True, False, True]


def test_whoever_is_linked_anew_after_an_erasure_is_somebody_else(town):
    integrator = town.started()
    town.decide(subject=MARIE)
    everything(integrator)
    town.note("erased", subject=MARIE)
    everything(integrator)
    town.note("linked", subject=MARIE)
    everything(integrator)
    everything(integrator)
    assert [o.entry.type for o in shown(town)] == ["linked"]


def test_the_handle_is_published_nowhere(town):
    integrator = town.started()
    town.decide(subject=MARIE)
    everything(integrator)
    with town.store.reading() as db:
        held = disclose.key_of(db, MASTERS, MARIE).handle
    published = b"".join(p.read_bytes() for p in town.folder.rglob("*") if p.is_file())
    assert held not in published
    assert held.hex().encode() not in published


def test_the_handle_of_a_key_stays_what_it_is():
    key = bytes(range(32))
    assert handle(key).hex() == "8854ad9de99ee77670a801ba050adb27"


def test_a_read_only_store_cannot_be_written_and_makes_nothing(town, tmp_path):
    everything(town.started())
    store = Store(town.url, read_only=True)
    with store.reading() as db, pytest.raises(sa.exc.DBAPIError):
        db._db.exec_driver_sql("DELETE FROM entries")
    store.close()
    with pytest.raises(StoreAway), Store(f"sqlite:///{tmp_path}/none", read_only=True).reading():
        pass
    assert not (tmp_path / "none").exists()
