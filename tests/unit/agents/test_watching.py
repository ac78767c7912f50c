"""A rule that does not come back ends the process once, and loses that one record."""

import subprocess
import sys
import threading
from functools import partial

import pytest

from passerelle.agents.patience import GAVE_UP
from passerelle.agents.watching import Watch
from passerelle.testkit.bus import Stored
from passerelle_consent.wire import DeadLetter

OWNER = "agents.test"


class Stopped(BaseException):
    pass


def record(offset):
    return Stored(topic="outbox.x", partition=1, offset=offset, timestamp=0, key=b"k" * 16, value=b"canary")


def letters(outs):
    return [(d.reason, d.rule, d.offset) for d in (DeadLetter.decode(out.value) for out in outs)]


def test_what_was_too_slow_once_is_passed_over_from_the_next_start_on(tmp_path):
    told = []

    def stop(why, **where):
        told.append((why, where))
        raise Stopped

    path = tmp_path / "kept" / "too-slow.json"
    watch = Watch(path, owner=OWNER, slow_s=0, stop=stop)
    with pytest.raises(Stopped):
        watch.guarded(OWNER, "test.slow", record(7), watch.look)
    ((why, where),) = told
    assert "did not come back" in why
    assert (where["rule"], where["offset"], where["owner"]) == ("test.slow", 7, OWNER)
    assert "canary" not in str(told) + path.read_text()

    done = []
    again = Watch(path, owner=OWNER)
    run = partial(again.guarded, OWNER, "test.slow")
    assert letters(run(record(7), lambda: done.append("run"), lambda: done.append("instead"))) == [
        ("too-slow", "test.slow", 7)
    ]
    assert run(record(8), lambda: done.append("next") or ()) == ()
    assert again.guarded(OWNER, "test.other", record(7), lambda: done.append("other") or ()) == ()
    assert done == ["instead", "next", "other"]


def test_between_two_records_nobody_is_slow():
    watch = Watch(None, owner=OWNER, slow_s=0, stop=lambda *_, **__: pytest.fail("stopped"))
    watch.look()
    watch.guarded(OWNER, "test.quick", record(1), tuple)
    watch.look()


@pytest.mark.parametrize(
    "said", ["{half", "[]", '[["test.x", "outbox.x", 1, 1]]', '{"cluster": "a", "records": [[1]]}']
)
def test_a_file_that_is_no_list_of_records_passes_nothing_over(tmp_path, said):
    path = tmp_path / "too-slow.json"
    path.write_text(said)
    assert Watch(path, owner=OWNER, cluster="a").guarded(OWNER, "test.x", record(1), tuple) == ()


def stopped(watch, number):
    with pytest.raises(Stopped):
        watch.guarded(OWNER, "test.slow", record(number), watch.look)


def stop(*_, **__):
    raise Stopped


def test_on_a_broker_made_anew_an_offset_is_another_record(tmp_path):
    path = tmp_path / "too-slow.json"
    stopped(Watch(path, owner=OWNER, cluster="old", slow_s=0, stop=stop), 7)
    assert Watch(path, owner=OWNER, cluster="old").passes_over("test.slow", record(7))
    assert not Watch(path, owner=OWNER, cluster="new").passes_over("test.slow", record(7))


def test_whoever_gets_the_partitions_passes_over_what_another_worker_of_the_host_did_not_come_back_from(tmp_path):
    path = tmp_path / "too-slow.json"
    other = Watch(path, owner=OWNER)
    for number in (7, 8):
        stopped(Watch(path, owner=OWNER, slow_s=0, stop=stop), number)
    assert not other.passes_over("test.slow", record(7))
    other.refresh()
    assert [other.passes_over("test.slow", record(n)) for n in (6, 7, 8)] == [False, True, True]


def test_a_process_that_cannot_note_it_ends_all_the_same(tmp_path):
    (tmp_path / "file").write_text("")
    stopped(Watch(tmp_path / "file" / "too-slow.json", owner=OWNER, slow_s=0, stop=stop), 7)


def test_the_thread_sees_a_rule_that_waits():
    over = threading.Event()
    watch = Watch(None, owner=OWNER, slow_s=0.05, stop=lambda *_, **__: over.set())
    watch.start()
    watch.guarded(OWNER, "test.slow", record(1), lambda: over.wait(30) and ())
    assert over.is_set()


BLOCKS = """
from passerelle.agents.watching import Watch
from passerelle.testkit.bus import Stored
watch = Watch(None, owner="agents.test", slow_s=0.1)
watch.start()
at = Stored(topic="outbox.x", partition=1, offset=5, timestamp=0, key=None, value=None)
def forever():
    while True: pass
watch.guarded("agents.test", "test.loops", at, forever)
"""


def test_a_rule_that_loops_ends_its_process_with_75_and_a_line_that_names_it():
    ended = subprocess.run([sys.executable, "-c", BLOCKS], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == GAVE_UP
    assert "test.loops" in ended.stdout + ended.stderr
    assert OWNER in ended.stdout + ended.stderr
