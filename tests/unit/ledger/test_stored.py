"""The database as evidence: no byte of any row changes unseen, and the row is named."""

import random
import shutil
import sqlite3
import time
from contextlib import closing
from os import environ

import pytest
from typer.testing import CliRunner

from passerelle.cli.ledger import app
from passerelle_consent.ledger.audit.findings import Outcome
from passerelle_consent.ledger.audit.folder import LogFolder
from passerelle_consent.ledger.audit.verify import fsck
from passerelle_consent.ledger.database.stored import verify_stored
from passerelle_consent.ledger.log.commitments import MasterKey
from passerelle_consent.ledger.log.masters import FixedMasters
from passerelle_consent.ledger.log.note import Signer
from unit.ledger.fakes import MASTERS, ORIGIN, SIGNER, LedgerTown

FLIPS = 1_200
ANN, BOB = b"A" * 16, b"B" * 16

EVIDENCE = {
    "entries": ("idx", "ident", "body"),
    "private_parts": ("idx", "sealed", "handle"),
    "tiles": ("level", "idx", "hashes"),
    "subject_keys": ("subject", "master", "wrapped"),
    "checkpoints": ("size", "origin", "root", "note"),
}
INTEGER_BYTES = 8


def everything(integrator):
    while (step := integrator.step()).full or step.decisions or step.journal or step.waiting:
        pass


@pytest.fixture
def held(request, tmp_path):
    """Entries about two people, in checkpoints that do not end with tiles, and one who was erased: some 600, or as
    the test says."""
    held = LedgerTown(tmp_path)
    integrator = held.started()
    for count in getattr(request, "param", (200, 100, 290)):
        held.decide(count=count, subject=ANN)
        held.decide(subject=BOB, count=3)
        everything(integrator)
    held.note("policy", policy=bytes(32))
    held.note("erased", subject=BOB)
    everything(integrator)
    held.sqlite = tmp_path / "ledger.sqlite"
    yield held
    held.store.close()


def examined(held, masters=MASTERS, verifier=SIGNER.verifier):
    with held.store.reading() as db:
        return verify_stored(db, verifier, masters)


def change(held, statement, *values):
    with closing(sqlite3.connect(held.sqlite)) as db, db:
        db.execute(statement, values)


def test_a_sound_database(held):
    found = examined(held)
    assert (found.outcome, found.findings, found.size) == (Outcome.VALID, (), 601)
    assert found.checkpoints >= 4


def test_on_either_store(town):
    integrator = town.started()
    for _ in range(3):
        town.decide(count=150)
        everything(integrator)
    assert (examined(town).outcome, examined(town).size) == (Outcome.VALID, 450)


def test_another_master_key_and_another_log_cannot_tell(held):
    assert examined(held, FixedMasters(MasterKey.of(bytes(32)))).outcome is Outcome.UNCLEAR
    assert examined(held, verifier=Signer.of(ORIGIN, bytes(32)).verifier).outcome is not Outcome.VALID


@pytest.mark.parametrize(
    ("statement", "row"),
    [
        ("DELETE FROM entries WHERE idx = 600", "checkpoints: size 601"),
        ("DELETE FROM entries WHERE idx = 7", "checkpoints: size "),
        ("UPDATE entries SET ident = zeroblob(16) WHERE idx = 7", "entries: 7"),
        ("DELETE FROM tiles WHERE level = 1", "tiles: tile/1/000"),
        ("INSERT INTO tiles VALUES (5, 5, x'00')", "tiles"),
        ("UPDATE private_parts SET handle = (SELECT handle FROM private_parts WHERE idx = 1) WHERE idx = 900", None),
        ("INSERT INTO private_parts VALUES (900, x'00', NULL)", "private_parts: 900"),
        ("INSERT INTO entries VALUES (900, x'00', x'00')", "entries"),
        ("UPDATE checkpoints SET signed_ms = 1", None),
    ],
)
def test_rows_that_are_gone_or_foreign(held, statement, row):
    change(held, statement)
    found = examined(held)
    if row is None:
        assert found.outcome is Outcome.VALID
    else:
        assert found.outcome is Outcome.INVALID
        assert any(f.file.startswith(row) for f in found.findings), found.findings


def test_a_private_part_of_another_entry(held):
    change(held, "UPDATE private_parts SET sealed = (SELECT sealed FROM private_parts WHERE idx = 1) WHERE idx = 2")
    assert {f.file for f in examined(held).findings} == {"entries: 2"}


def seed_of():
    seed = int(environ.get("SEED", time.time_ns() % 10**6))
    print(f"SEED={seed}")
    return seed


def flipped(value, rng):
    """One byte of a stored value, changed: an integer is its eight bytes."""
    raw = bytearray(
        value
        if isinstance(value, bytes)
        else value.encode()
        if isinstance(value, str)
        else value.to_bytes(INTEGER_BYTES)
    )
    raw[rng.randrange(len(raw))] ^= rng.randrange(1, 128 if isinstance(value, str) else 256)
    if isinstance(value, int):
        return int.from_bytes(raw, signed=True)
    return raw.decode() if isinstance(value, str) else bytes(raw)


def flip(db, table, rng):
    """Change one byte of one row; return where, or None when there is nothing to change or its place is taken."""
    column = rng.choice(EVIDENCE[table])
    names = {"table": table, "column": column}
    # What nobody can open any more tells nothing.
    open_ = "WHERE handle IS NOT NULL" if table == "private_parts" else ""
    chosen = "SELECT rowid, {column} FROM {table} {open_}".format(**names, open_=open_)  # noqa: S608 - names of this module
    row, value = rng.choice(db.execute(chosen).fetchall())
    try:
        write = "UPDATE {table} SET {column} = ? WHERE rowid = ?".format(**names)  # noqa: S608 - the same
        db.execute(write, (flipped(value, rng), row))
    except (sqlite3.IntegrityError, OverflowError):
        return None
    return f"{table}.{column} of {row}"


@pytest.mark.slow
@pytest.mark.parametrize("held", [(130, 50, 90)], indirect=True, ids=["full tile and partial ones"])
def test_any_flipped_byte_of_any_row_is_found(held):
    seed = seed_of()
    rng, trials = random.Random(seed), 0
    with (
        closing(sqlite3.connect(held.sqlite, isolation_level=None)) as db,
        closing(sqlite3.connect(":memory:")) as sound,
    ):
        db.backup(sound)
        while trials < FLIPS:
            where = flip(db, list(EVIDENCE)[trials % len(EVIDENCE)], rng)
            if where is not None:
                assert examined(held).outcome is not Outcome.VALID, f"SEED={seed}, trial {trials}: {where}"
                sound.backup(db)
                trials += 1
    assert examined(held).outcome is Outcome.VALID


@pytest.mark.slow
def test_any_flipped_byte_of_any_file_is_found_by_fsck_and_its_file_named(held):
    seed = seed_of()
    rng = random.Random(seed)
    log = LogFolder(held.folder)
    files = sorted(p for p in held.folder.rglob("*") if p.is_file())
    for trial in range(FLIPS):
        victim = files[trial % len(files)]
        sound = victim.read_bytes()
        bent = bytearray(sound)
        bent[rng.randrange(len(bent))] ^= rng.randrange(1, 256)
        victim.write_bytes(bent)
        result = fsck(log, SIGNER.verifier)
        place = f"SEED={seed}, trial {trial}: {victim.relative_to(held.folder)}"
        assert result.outcome is not Outcome.VALID, place
        assert victim.relative_to(held.folder).as_posix() in [f.file for f in result.findings], place
        victim.write_bytes(sound)
    assert fsck(log, SIGNER.verifier).outcome is Outcome.VALID


def test_the_command_examines_the_homes_database(held, tmp_path, monkeypatch):
    home = tmp_path / "home"
    for name in ("keys/ledger", "store", "run"):
        (home / name).mkdir(parents=True, mode=0o700)
    (home / "keys/ledger/master.key").write_text(bytes(range(1, 33)).hex())
    (home / "keys/ledger/master.key").chmod(0o600)
    shutil.copytree(held.folder, home / "run/ledger")
    (home / "run/ledger.vkey").write_text(SIGNER.verifier.encode())
    with closing(sqlite3.connect(held.sqlite)) as db, closing(sqlite3.connect(home / "store/ledger.sqlite")) as copy:
        db.backup(copy)
    monkeypatch.setenv("PASSERELLE_HOME", str(home))
    sound = CliRunner().invoke(app, ["verify", "--store"])
    assert (sound.exit_code, "database: valid, 601 entries under" in sound.stdout) == (0, True), sound.output
    with closing(sqlite3.connect(home / "store/ledger.sqlite")) as db, db:
        db.execute("UPDATE tiles SET hashes = x'00' WHERE level = 1")
    bent = CliRunner().invoke(app, ["verify", "--store"])
    assert (bent.exit_code, "database: INVALID: tiles: tile/1/000" in bent.stderr) == (1, True), bent.output
