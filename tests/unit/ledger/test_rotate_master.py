"""Another master key over every subject's key: whatever ends it half-way, all opens, and what is destroyed stays so."""

import random
import shutil

import pytest
from typer.testing import CliRunner

from passerelle.cli.ledger import app
from passerelle.keys import KeyFault
from passerelle.masters import MasterFiles
from passerelle_consent.ledger.audit.findings import Outcome
from passerelle_consent.ledger.database import rewrap as rewrapping
from passerelle_consent.ledger.database.rewrap import retire, rewrap, waiting
from passerelle_consent.ledger.database.store import StoreAway
from passerelle_consent.ledger.database.stored import verify_stored
from passerelle_consent.ledger.faults import Unclear
from passerelle_consent.ledger.integrator.integrate import MasterChanged
from passerelle_consent.ledger.query import disclose
from passerelle_consent.ledger.sealing.vault import WrappedKey
from unit.ledger.fakes import ON_SQLITE, SIGNER

ON_POSTGRESQL = pytest.mark.parametrize(
    "store_url", [pytest.param("postgresql", marks=pytest.mark.postgresql)], indirect=True
)
PEOPLE = [bytes([n]) * 16 for n in range(1, 8)]
BATCH = 2
BATCHES = 4


class KilledError(Exception):
    pass


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(rewrapping, "BATCH_ROWS", BATCH)


@pytest.fixture
def keys(tmp_path):
    return tmp_path / "home" / "keys"


def everything(integrator):
    while (step := integrator.step()).full or step.decisions or step.journal or step.waiting:
        pass


def peopled(town, keys):
    integrator = town.started(masters=MasterFiles(keys, make=True))
    for person in PEOPLE:
        town.decide(subject=person)
    everything(integrator)
    return integrator


def all_opens(town, keys, people=PEOPLE):
    """With the key files alone: what a process that starts now can open."""
    masters = MasterFiles(keys)
    with town.store.reading() as db:
        assert all(disclose.newest(db, disclose.key_of(db, masters, p), before=None, limit=9) for p in people)
        assert verify_stored(db, SIGNER.verifier, masters).outcome is Outcome.VALID


def rotate(town, keys, done=lambda _: True):
    """Go on to the end, as the command does."""
    files = MasterFiles(keys)
    if files.advancing or not waiting(town.store, files.current()):
        files.advance()
    draw = random.Random(5).randbytes
    while not (rewrap(town.store, files, draw, done) and retire(town.store, files.current(), files.destroy_others)):
        pass


def killed_after(batches):
    left = [batches]

    def done(_keys):
        left[0] -= 1
        if left[0] < 0:
            raise KilledError
        return True

    return done


def files_of(keys):
    return sorted(p.name for p in (keys / "ledger").iterdir())


@pytest.mark.parametrize("batches", range(BATCHES))
def test_killed_between_any_two_batches_it_goes_on(town, keys, batches):
    peopled(town, keys)
    before = MasterFiles(keys).current().id
    with pytest.raises(KilledError):
        rotate(town, keys, killed_after(batches))
    current = MasterFiles(keys).current()
    assert current.id != before
    assert waiting(town.store, current) == max(0, len(PEOPLE) - BATCH * (batches + 1))
    all_opens(town, keys)
    rotate(town, keys)
    assert files_of(keys) == ["master.key"]
    assert waiting(town.store, MasterFiles(keys).current()) == 0
    all_opens(town, keys)


@ON_SQLITE
def test_stopped_it_says_that_some_are_left(town, keys):
    peopled(town, keys)
    files = MasterFiles(keys)
    files.advance()
    assert not rewrap(town.store, files, random.Random(5).randbytes, lambda _: False)
    assert not retire(town.store, files.current(), files.destroy_others)
    assert len(files_of(keys)) == 2
    all_opens(town, keys)


@ON_SQLITE
@pytest.mark.parametrize("syncs", range(4))
def test_killed_while_files_change_no_master_is_lost(town, keys, syncs, monkeypatch):
    integrator, left = peopled(town, keys), [syncs]
    sync = MasterFiles._sync

    def killing(self):
        left[0] -= 1
        if left[0] < 0:
            raise KilledError
        sync(self)

    monkeypatch.setattr(MasterFiles, "_sync", killing)
    with pytest.raises(KilledError):
        MasterFiles(keys).advance()
    monkeypatch.undo()
    town.decide(subject=b"N" * 16)
    everything(integrator)  # whichever is current has wrapped it
    all_opens(town, keys, [*PEOPLE, b"N" * 16])
    rotate(town, keys)
    assert files_of(keys) == ["master.key"]
    all_opens(town, keys, [*PEOPLE, b"N" * 16])


@ON_SQLITE
@pytest.mark.parametrize("syncs", range(2))
def test_killed_while_the_old_one_is_destroyed_the_current_one_stays(town, keys, syncs, monkeypatch):
    peopled(town, keys)
    files, left = MasterFiles(keys), [syncs]
    files.advance()
    rewrap(town.store, files, random.Random(5).randbytes, lambda _: True)
    sync = MasterFiles._sync

    def killing(self):
        left[0] -= 1
        if left[0] < 0:
            raise KilledError
        sync(self)

    monkeypatch.setattr(MasterFiles, "_sync", killing)
    with pytest.raises(KilledError):
        retire(town.store, files.current(), files.destroy_others)
    monkeypatch.undo()
    all_opens(town, keys)
    rotate(town, keys)
    assert files_of(keys) == ["master.key"]
    all_opens(town, keys)


def test_a_key_destroyed_while_rotating_does_not_come_back(town, keys):
    integrator = peopled(town, keys)

    def erasing(_keys):
        town.note("erased", subject=PEOPLE[0])
        town.note("erased", subject=PEOPLE[-1])
        everything(integrator)
        return True

    rotate(town, keys, erasing)
    with town.store.reading() as db:
        assert set(db.subject_keys(PEOPLE)) == set(PEOPLE[1:-1])
    all_opens(town, keys, PEOPLE[1:-1])


def test_a_key_that_is_gone_is_not_written(town, keys):
    peopled(town, keys)
    with town.store.writing() as db:
        stored = db.subject_keys(PEOPLE[:1])
        db.destroy_keys(PEOPLE[:1])
        db.rewrap_keys(stored)
        assert db.subject_keys(PEOPLE[:1]) == {}


def lead_at_once(store):
    with store.writing() as db:
        db._db.exec_driver_sql("SET LOCAL lock_timeout = 20")
        db.hold_leader()


@ON_POSTGRESQL
def test_no_integrator_commits_within_a_batch(town, keys):
    """Else a key that it destroys and makes anew could be overwritten with the old one."""
    peopled(town, keys)
    files, drawn = MasterFiles(keys), []
    files.advance()

    def draw(count):
        with pytest.raises(StoreAway):
            lead_at_once(town.store)
        drawn.append(count)
        return bytes(count)

    assert rewrap(town.store, files, draw, lambda _: True)
    assert len(drawn) == len(PEOPLE)


def test_a_batch_sealed_under_the_master_that_is_destroyed_meanwhile_is_made_again(town, keys):
    integrator = peopled(town, keys)
    commit = integrator._commit

    def late(batch, lease):
        integrator._commit = commit
        rotate(town, keys)
        commit(batch, lease)

    integrator._commit = late
    town.decide(subject=b"N" * 16)
    with pytest.raises(MasterChanged):
        everything(integrator)
    assert integrator.start()
    everything(integrator)
    all_opens(town, keys, [*PEOPLE, b"N" * 16])


def test_a_running_integrator_and_reader_follow(town, keys):
    integrator, reader = peopled(town, keys), MasterFiles(keys)
    rotate(town, keys)
    for person in (*PEOPLE, b"N" * 16):
        town.decide(subject=person)
    everything(integrator)
    assert waiting(town.store, MasterFiles(keys).current()) == 0
    with town.store.reading() as db:
        assert len(disclose.newest(db, disclose.key_of(db, reader, PEOPLE[0]), before=None, limit=9)) == 2


@ON_SQLITE
def test_what_was_stored_under_the_old_one_behind_the_pass_is_wrapped_too(town, keys):
    """An integrator that saw the old one as current just before it was not."""
    peopled(town, keys)
    old = MasterFiles(keys).current()

    def storing(_keys):
        with town.store.writing() as db:
            if not db.subject_keys([bytes(16)]):
                db.add_keys({bytes(16): WrappedKey(master=old.id, wrapped=old.wrap(bytes(16), bytes(32), bytes))})
        return True

    rotate(town, keys, storing)
    with town.store.reading() as db:
        stored = db.subject_keys([bytes(16)])[bytes(16)]
    assert stored.open(bytes(16), MasterFiles(keys)).secret == bytes(32)


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def home(town, keys, tmp_path, monkeypatch):
    peopled(town, keys)
    home = tmp_path / "home"
    (home / "run").mkdir()
    shutil.copytree(town.folder, home / "run/ledger")
    (home / "run/ledger.vkey").write_text(SIGNER.verifier.encode())
    monkeypatch.setenv("PASSERELLE_HOME", str(home))
    monkeypatch.setenv("PASSERELLE_LEDGER_STORE", town.url)
    return home


def told(*arguments):
    return CliRunner().invoke(app, arguments)


@ON_SQLITE
def test_the_command_rotates_and_the_database_holds(home, town, keys):
    old = (keys / "ledger/master.key").read_bytes()
    rotated = told("rotate-master")
    assert (rotated.exit_code, "7 subjects' keys wrapped anew, the old one is destroyed" in rotated.stdout) == (0, True)
    assert files_of(keys) == ["master.key"]
    assert (keys / "ledger/master.key").read_bytes() != old
    assert (keys / "ledger/master.key").stat().st_mode & 0o777 == 0o600
    assert told("verify", "--store").exit_code == 0
    all_opens(town, keys)


@ON_SQLITE
def test_the_old_one_is_kept_if_wanted(home, keys):
    old = MasterFiles(keys).current().id
    assert told("rotate-master", "--keep-old").exit_code == 0
    assert files_of(keys) == [f"master.{old}.key", "master.key"]
    assert told("rotate-master").exit_code == 0
    assert files_of(keys) == ["master.key"]


@ON_SQLITE
@pytest.mark.parametrize("command", [("rotate-master",), ("verify", "--store")])
def test_a_missing_master_is_said_and_none_is_made(home, keys, command):
    (keys / "ledger/master.key").unlink()
    fault = told(*command).exception
    assert (type(fault), fault.exit_code, fault.what) == (KeyFault, 2, "the ledger's master key is not there")
    assert files_of(keys) == []


@ON_SQLITE
def test_a_wrong_master_is_said_and_nothing_changes(home, keys):
    (keys / "ledger/master.key").write_text(bytes(32).hex())
    fault = told("rotate-master").exception
    assert (type(fault), fault.exit_code) == (Unclear, 2)
    assert "wrapped by another master key" in str(fault)
    assert files_of(keys) == ["master.key"]
    assert told("verify", "--store").exit_code == 2


@ON_SQLITE
def test_two_do_not_rotate_at_once(home, keys):
    with MasterFiles(keys).alone():
        assert told("rotate-master").exception.what == "the master key is being rotated already"
