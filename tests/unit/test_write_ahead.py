"""Processes that open one SQLite file together."""

import sqlite3
from contextlib import closing
from threading import Timer

import pytest

from passerelle_consent.write_ahead import write_ahead


@pytest.fixture
def file(tmp_path):
    """A SQLite file that is not yet in WAL mode."""
    with closing(sqlite3.connect(tmp_path / "store.sqlite")) as db:
        db.execute("CREATE TABLE things (id)")
    return tmp_path / "store.sqlite"


@pytest.fixture
def reader(file):
    """Another that has a transaction open on it."""
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as db:
        db.execute("BEGIN")
        db.execute("SELECT * FROM things").fetchall()
        yield db


def test_the_switch_waits_for_who_has_the_file_open(file, reader):
    leaves = Timer(0.2, reader.execute, ["COMMIT"])
    leaves.start()
    with closing(sqlite3.connect(file, isolation_level=None, timeout=0)) as db:
        write_ahead(db, 10)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    leaves.join()


@pytest.mark.usefixtures("reader")
def test_it_does_not_wait_for_ever(file):
    with (
        closing(sqlite3.connect(file, isolation_level=None, timeout=0)) as db,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        write_ahead(db, 0.05)


def test_another_fault_is_raised_at_once(tmp_path):
    (tmp_path / "text").write_text("this is not a database, however long one waits " * 50)
    with (
        closing(sqlite3.connect(tmp_path / "text", isolation_level=None)) as db,
        pytest.raises(sqlite3.DatabaseError, match="not a database"),
    ):
        write_ahead(db, 60)
