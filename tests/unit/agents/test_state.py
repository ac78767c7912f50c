import random
import sqlite3
import subprocess

import pytest

from passerelle.agents.entry import Entry, pack, unpack
from passerelle.agents.state import Checkpoint, Memory, StaleCheckpoint, checkpoints, expire

FAR_BACK = 0


def entry(side=0, offset=0, at_ms=1_000, body=b"body"):
    return Entry(side, 3, offset, 500, 600, b"shape678", body, at_ms)


@pytest.fixture(params=["memory", "checkpoint"])
def state(request, tmp_path):
    made = Memory() if request.param == "memory" else Checkpoint(tmp_path / "log" / "0.db", "cluster/log")
    yield made
    made.close()


def test_entries_survive_packing():
    kept = [entry(0, 7, body=b""), entry(1, 2**40, body=b"x" * 1000)]
    assert unpack(pack(kept)) == kept
    assert unpack(b"") == []


def test_what_was_put_counts_at_once_and_stays_only_when_committed(state):
    state.put(b"anna", [entry(0, 1)])
    assert state.get(b"anna") == [entry(0, 1)]
    state.rollback()
    assert state.get(b"anna") == []
    state.put(b"anna", [entry(0, 2)])
    state.commit(5, FAR_BACK)
    state.put(b"anna", [entry(0, 3)])
    state.rollback()
    assert (state.get(b"anna"), state.next) == ([entry(0, 2)], 5)


def test_what_is_held_too_long_is_forgotten(state):
    state.put(b"old", [entry(at_ms=10)])
    state.put(b"new", [entry(at_ms=10), entry(1, at_ms=30)])
    state.commit(2, FAR_BACK)
    state.commit(3, 20)
    assert (state.get(b"old"), state.get(b"new")) == ([], [entry(1, at_ms=30)])


def test_a_person_who_changes_is_kept_by_the_last_change(state):
    state.put(b"anna", [entry(at_ms=10)])
    state.put(b"ben", [entry(at_ms=20)])
    state.commit(2, FAR_BACK)
    state.put(b"anna", [entry(at_ms=40)])
    state.commit(3, 30)
    assert (len(state.get(b"anna")), state.get(b"ben")) == (1, [])


def test_memory_and_checkpoint_agree(tmp_path):
    rng = random.Random(7)
    one, two = Memory(), Checkpoint(tmp_path / "0.db", "cluster/log")
    for step in range(300):
        who = rng.randbytes(1)
        change = rng.choice(["put", "put", "put", "commit", "rollback"])
        for state in (one, two):
            if change == "put":
                state.put(who, [entry(offset=step, at_ms=step)])
            elif change == "commit":
                state.commit(step, step - 40)
            else:
                state.rollback()
        assert one.get(who) == two.get(who)
        assert one.next == two.next
    two.close()


def test_a_checkpoint_goes_on_where_it_was_left(tmp_path):
    first = Checkpoint(tmp_path / "0.db", "cluster/log")
    first.put(b"anna", [entry()])
    first.commit(7, FAR_BACK)
    first.close()
    again = Checkpoint(tmp_path / "0.db", "cluster/log")
    assert (again.next, again.get(b"anna")) == (7, [entry()])
    again.close()


def test_a_checkpoint_of_another_cluster_starts_over(tmp_path):
    first = Checkpoint(tmp_path / "0.db", "cluster/log")
    first.put(b"anna", [entry()])
    first.commit(7, FAR_BACK)
    first.close()
    other = Checkpoint(tmp_path / "0.db", "another/log")
    assert (other.next, other.get(b"anna")) == (0, [])
    other.close()


def test_a_zombie_cannot_spoil_the_checkpoint_of_the_new_owner(tmp_path):
    zombie, owner = (Checkpoint(tmp_path / "0.db", "cluster/log") for _ in range(2))
    zombie.put(b"anna", [entry(0, 1)])
    owner.put(b"anna", [entry(0, 9)])
    owner.commit(10, FAR_BACK)
    with pytest.raises(StaleCheckpoint):
        zombie.commit(2, FAR_BACK)
    zombie.close()
    assert (owner.next, owner.get(b"anna")) == (10, [entry(0, 9)])
    owner.close()


def test_what_is_held_too_long_is_nowhere_on_disk_also_where_nothing_happens(tmp_path):
    states = [Checkpoint(tmp_path / "log" / f"{i}.db", "cluster/log") for i in range(2)]
    for state in states:
        state.put(b"anna-with-a-name", [entry(at_ms=10, body=b"a word of hers"), entry(1, at_ms=30)])
        state.commit(2, FAR_BACK)
    assert b"a word of hers" in on_disk(tmp_path)
    expire(tmp_path, "log", 20)
    assert b"a word of hers" not in on_disk(tmp_path)
    assert all(state.get(b"anna-with-a-name") == [entry(1, at_ms=30)] for state in states)
    expire(tmp_path, "log", 31)
    assert b"anna-with-a-name" not in on_disk(tmp_path)
    for state in states:
        state.put(b"ben", [entry()])
        state.commit(3, FAR_BACK)  # it goes on
        state.close()


def on_disk(folder):
    """By a process of its own: closing a file here would drop the locks that SQLite holds on it in this process."""
    files = [str(path) for path in folder.rglob("*") if path.is_file()]
    return subprocess.run(["/bin/cat", *files], capture_output=True, check=True).stdout


def test_a_file_that_is_none_is_replaced_by_memory(tmp_path):
    broken = tmp_path / "log" / "0.db"
    broken.parent.mkdir()
    broken.write_bytes(b"this is no database" * 100)
    with pytest.raises(sqlite3.DatabaseError):
        Checkpoint(broken, "cluster/log")
    assert isinstance(checkpoints(tmp_path, "cluster")("log", 0), Memory)
    good = checkpoints(tmp_path, "cluster")("log", 1)
    assert isinstance(good, Checkpoint)
    good.close()
