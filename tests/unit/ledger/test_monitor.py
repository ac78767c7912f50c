"""A monitor follows a log and sounds the alarm: of bytes, of histories, of what the entries say, and of silence."""

import json
import os
import shutil

import pytest
from typer.testing import CliRunner

from passerelle.cli.ledger import app as commands
from passerelle_consent.ledger.audit.folder import LogFolder
from passerelle_consent.ledger.audit.monitor import Monitor, State
from passerelle_consent.ledger.audit.watch import REVIEW_MS, SLACK_MS, Kind
from passerelle_consent.ledger.faults import Unclear
from passerelle_consent.ledger.log.cosignature import Cosigner
from passerelle_consent.ledger.log.entries import Entry, EntryType
from passerelle_consent.ledger.log.note import Note
from passerelle_consent.ledger.log.trust import Policy
from passerelle_consent.ledger.query import disclose
from passerelle_consent.policy.decide import Reason, Verdict
from unit.ledger.fakes import MASTERS, SIGNER, START_MS, LedgerTown, forge

ANN = b"A" * 16
NOW_S = START_MS / 1000
LATE_S = 60


@pytest.fixture
def town(tmp_path):
    town = LedgerTown(tmp_path)
    town.integrator_ = town.started()
    yield town
    town.store.close()


def everything(town):
    while (step := town.integrator_.step()).full or step.decisions or step.journal or step.waiting:
        pass


def monitor(town, **kwargs):
    return Monitor(log=LogFolder(town.folder), verifier=SIGNER.verifier, late_after_s=LATE_S, **kwargs)


def key_of(town):
    with town.store.reading() as db:
        return disclose.key_of(db, MASTERS, ANN).secret


def kinds(following, town, now_s=NOW_S):
    os.utime(town.folder / "checkpoint", (now_s, now_s))
    return [a.kind for a in following.look(now_s).alarms]


def test_all_clear_and_each_pass_reads_what_is_new(town, monkeypatch):
    following = monitor(town)
    read = []
    bundle = LogFolder.bundle
    monkeypatch.setattr(LogFolder, "bundle", lambda log, tile: read.append(tile.path) or bundle(log, tile))
    for count in (0, 300, 1, 300):
        if count:
            town.decide(count=count)
            everything(town)
        found = following.look(NOW_S)
        assert (following.look(NOW_S).size, kinds(following, town)) == (found.size, [])
    assert found.size == 601
    assert read == [
        *("tile/entries/000", "tile/entries/001.p/44"),
        *("tile/entries/001.p/45",),
        *("tile/entries/001", "tile/entries/002.p/89"),
    ]


def test_a_log_that_was_rolled_back_and_one_that_split(town, tmp_path):
    town.decide(count=3)
    everything(town)
    older = tmp_path / "older"
    shutil.copytree(town.folder, older)
    town.decide(count=3)
    everything(town)
    following = monitor(town)
    assert kinds(following, town) == []
    shutil.rmtree(town.folder)
    shutil.copytree(older, town.folder)
    assert kinds(following, town) == [Kind.TWO_HISTORIES]
    shutil.rmtree(town.folder)
    town.folder.mkdir()
    entries = [Entry(type=EntryType.KEY, time_ms=n, id=n.to_bytes(16, "big")).encode() for n in range(9)]
    forge(town.folder, entries)
    assert kinds(following, town) == [Kind.TWO_HISTORIES]
    assert kinds(monitor(town), town) == [], "only who remembers can tell"


def test_an_entry_that_is_not_canonical(town):
    town.folder.mkdir(exist_ok=True)
    good = Entry(type=EntryType.KEY, time_ms=1, id=bytes(16)).encode()
    forge(town.folder, [good, good.replace(b'":"', b'": "')])
    found = monitor(town).look(NOW_S)
    assert [(a.kind, a.index) for a in found.alarms if a.kind is not Kind.CHECKPOINT_LATE] == [(Kind.NOT_CANONICAL, 1)]


def test_bent_bytes_move_nothing_on(town):
    town.decide(count=3)
    everything(town)
    following = monitor(town)
    bundle = town.folder / "tile/entries/000.p/3"
    sound = bundle.read_bytes()
    bundle.write_bytes(sound.replace(b"permit", b"redact"))
    assert kinds(following, town) == [Kind.INVALID]
    bundle.unlink()
    assert kinds(following, town) == [Kind.UNCLEAR]
    bundle.write_bytes(sound)
    assert kinds(following, town) == []


def test_an_override_that_nobody_reviewed_in_time(town):
    opened = town.note("override", recipient="schools")
    everything(town)
    following = monitor(town)
    assert kinds(following, town) == []
    after_s = NOW_S + REVIEW_MS / 1000 + 1
    assert kinds(following, town, after_s) == [Kind.OVERRIDE_UNREVIEWED]
    town.now_ms += REVIEW_MS + 5_000
    town.note("reviewed", recipient="schools", regarding=opened.id)
    everything(town)
    assert kinds(following, town, after_s + 5) == [Kind.OVERRIDE_UNREVIEWED], "late is late"
    assert kinds(following, town, after_s + 5) == []


def test_an_override_that_was_reviewed(town):
    opened = town.note("override", recipient="schools")
    town.note("reviewed", recipient="schools", regarding=opened.id)
    everything(town)
    assert kinds(monitor(town), town, NOW_S + REVIEW_MS) == []


def test_a_permit_behind_the_fence_of_a_known_person(town):
    withdrawn = town.note("withdrawn")
    town.note("fenced", regarding=withdrawn.id)
    everything(town)
    following, stranger = monitor(town, keys=[key_of(town)]), monitor(town)
    assert kinds(following, town) == []
    town.decide(flow=1)
    everything(town)
    assert kinds(following, town) == [Kind.PERMIT_AFTER_FENCE]
    assert kinds(stranger, town) == []


@pytest.mark.parametrize(
    ("reason", "said", "expected"),
    [
        (Reason.CONSENT_WITHDRAWN, None, [Kind.PERMIT_WITHOUT_STANDING]),
        (Reason.CONSENT_WITHDRAWN, "given", []),
        (Reason.CONSENT_WITHDRAWN, "refused", [Kind.PERMIT_WITHOUT_STANDING]),
        (Reason.OBJECTED, "answered", []),
        (Reason.NO_OVERRIDE, "override", []),
        (Reason.CONSENT_NOT_GIVEN, "policy", []),
        (Reason.AGREEMENT_NOT_IN_FORCE, None, []),
    ],
)
def test_denied_and_then_allowed_though_nothing_was_said(town, reason, said, expected):
    town.decide(flow=1, verdict=Verdict.DENY, reason=reason)
    everything(town)
    following = monitor(town, keys=[key_of(town)])
    assert kinds(following, town) == []
    town.now_ms += 10 * SLACK_MS
    if said:
        more = {
            "policy": {"policy": bytes(32)},
            "override": {"recipient": "roads"},
            "answered": {"agreements": ("phone@1",)},
        }
        town.note(said, **more.get(said, {}))
        everything(town)
    town.decide(flow=0)
    town.decide(flow=1)
    everything(town)
    now_s = NOW_S + 10 * SLACK_MS / 1000
    assert kinds(following, town, now_s) == expected
    assert kinds(following, town, now_s) == [], "said once"


def test_a_consent_that_the_gate_had_not_read_yet_turns_a_later_denial(town):
    """Told before the denial, applied after it: the order of the log is not that of the gate."""
    town.note("given")
    everything(town)
    town.now_ms += 500
    town.decide(flow=1, verdict=Verdict.DENY, reason=Reason.CONSENT_NOT_GIVEN)
    town.decide(flow=1)
    everything(town)
    assert kinds(monitor(town, keys=[key_of(town)]), town) == []


def test_a_checkpoint_that_is_late_and_a_log_that_stands_still_and_is_alive(town):
    checkpoint = town.folder / "checkpoint"
    os.utime(checkpoint, (NOW_S - LATE_S - 1, NOW_S - LATE_S - 1))
    assert [a.kind for a in monitor(town).look(NOW_S).alarms] == [Kind.CHECKPOINT_LATE]
    town.now_ms += 2_000
    town.integrator_.step()
    assert checkpoint.stat().st_mtime > NOW_S


def test_with_witnesses_their_time_counts_and_not_the_files(town):
    cosigner = Cosigner.of("w.example", bytes(32))
    policy = Policy.parse(f"witness w {cosigner.key.encode()}\nquorum w\n".encode())
    following = monitor(town, policy=policy)
    town.decide()
    everything(town)
    assert kinds(following, town) == [Kind.UNCLEAR]
    assert following.state.note is not None, "the entries are read all the same"
    checkpoint = town.folder / "checkpoint"
    note = Note.parse(checkpoint.read_bytes())
    for time_s, expected in ((NOW_S - LATE_S - 5, [Kind.CHECKPOINT_LATE]), (NOW_S - 5, [])):
        line = cosigner.sign(note.text, int(time_s))
        checkpoint.write_bytes(Note(text=note.text, signatures=(*note.signatures, line)).encode())
        assert kinds(following, town) == expected


def test_what_was_verified_is_kept_and_newcomers_are_looked_up(town):
    withdrawn = town.note("withdrawn")
    town.note("fenced", regarding=withdrawn.id)
    town.note("override", recipient="schools")
    everything(town)
    key = key_of(town)
    following = monitor(town)
    assert kinds(following, town) == []
    kept = following.state.encode()
    assert key.hex() not in kept
    following = monitor(town, keys=[key], state=State.parse(kept, [key]))
    assert kinds(following, town) == []
    following = monitor(town, keys=[key], state=State.parse(following.state.encode(), [key]))
    town.decide(flow=1)
    everything(town)
    assert kinds(following, town) == [Kind.PERMIT_AFTER_FENCE]
    assert kinds(following, town, NOW_S + REVIEW_MS) == [Kind.OVERRIDE_UNREVIEWED, Kind.PERMIT_AFTER_FENCE]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"v": 2}', "null"])
def test_what_is_no_state(text):
    with pytest.raises(Unclear):
        State.parse(text, [])


def test_the_command_prints_lines_and_exits_with_the_answer(town, tmp_path):
    town.decide()
    everything(town)
    town.integrator_._publisher.write_key()
    arguments = ["monitor", str(town.folder), "--once", "--state", str(tmp_path / "state")]
    assert CliRunner().invoke(commands, arguments).exit_code == 0
    os.utime(town.folder / "checkpoint", (1, 1))
    late = CliRunner().invoke(commands, arguments)
    (line,) = late.stdout.splitlines()
    assert (late.exit_code, json.loads(line)["alarm"]) == (1, "checkpoint-late")
    (town.folder / "checkpoint").unlink()
    gone = CliRunner().invoke(commands, arguments)
    assert (gone.exit_code, json.loads(gone.stdout)["alarm"]) == (2, "unclear")
    (tmp_path / "state").write_text("x")
    fault = CliRunner().invoke(commands, arguments).exception
    assert str(fault) == f"{tmp_path / 'state'}: not the state of a monitor"
