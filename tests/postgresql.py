"""A PostgreSQL server from the installed binaries, for tests and benches: a folder and a Unix socket of its own."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg
import sqlalchemy as sa

PACKAGE = "postgresql"
OWNER = "passerelle"
START_S_MAX = 60.0
STOP_S_MAX = 30.0
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_wal_size=256MB")
"""For tests, which crash processes and never the machine. A bench waits for the disk."""

OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
EMPTY = """
    DO $$ DECLARE name text; held boolean; BEGIN
        FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE '%version' LOOP
            EXECUTE format('SELECT EXISTS (SELECT FROM %I)', name) INTO held;
            IF held THEN EXECUTE format('TRUNCATE %I CASCADE', name); END IF;
        END LOOP;
        FOR name IN SELECT sequencename FROM pg_sequences WHERE last_value IS NOT NULL LOOP
            EXECUTE format('ALTER SEQUENCE %I RESTART', name);
        END LOOP;
    END $$
"""
"""All tables but those that say which revision it is. TRUNCATE costs as much for an empty one: it is asked first."""


@dataclass(frozen=True)
class Server:
    """A running server. `database` makes an empty database and returns its URL."""

    folder: Path
    process: subprocess.Popen
    numbers: count

    def database(self) -> str:
        name = f"test_{next(self.numbers)}"
        self.sql(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://{OWNER}@/{name}?host={self.folder}"

    def empty(self, url: str) -> None:
        """Leave a database as its tables were made: no session of anybody, no row, no number given out."""
        name = sa.make_url(url).database
        with psycopg.connect(self.conninfo(name), autocommit=True) as conn:
            end = time.monotonic() + STOP_S_MAX
            while conn.execute(OTHERS).fetchall():
                assert time.monotonic() < end, "a session does not end"
                time.sleep(0.001)
            conn.execute(EMPTY)

    def sql(self, statement: str, database: str = "postgres") -> list:
        """Run one statement as an operator would, and commit."""
        with psycopg.connect(self.conninfo(database), autocommit=True) as conn:
            found = conn.execute(statement)
            return found.fetchall() if found.description else []

    def conninfo(self, database: str) -> str:
        return f"host={self.folder} user={OWNER} dbname={database}"


def binaries() -> Path | None:
    """The newest of those that Debian installs beside each other, or what is on the path."""
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).resolve().parent
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: float(p.parts[-3]))
    return found[-1].parent if found else None


@contextmanager
def serving(bin_folder: Path, *, durable: bool = False, kept: Path | None = None) -> Iterator[Server]:
    """Run a server while the block lasts. It refuses to run as root: then an unprivileged user runs it.

    ``kept``: a folder whose databases are there again the next time; that user must be able to get to it.
    """
    user = _unprivileged() if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="pg-")) if kept is None else kept
    folder.mkdir(parents=True, exist_ok=True)
    if user is not None:
        shutil.chown(folder, user)
    try:
        if not (folder / "data" / "PG_VERSION").exists():
            initdb = [bin_folder / "initdb", "-D", folder / "data", "-U", OWNER, "-A", "trust", "-E", "UTF8"]
            options = ["--no-sync", "--locale=C"]
            subprocess.run([*initdb, *options], check=True, capture_output=True, user=user, cwd=folder)
        settings = ("listen_addresses=", f"unix_socket_directories={folder}", *(() if durable else FAST))
        options = [word for setting in settings for word in ("-c", setting)]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [bin_folder / "postgres", "-D", folder / "data", *options],
                stdout=log,
                stderr=log,
                user=user,
                cwd=folder,
            )
        server = Server(folder, process, count(1))
        try:
            _wait(server)
            yield server
        finally:
            process.send_signal(signal.SIGINT)  # ends sessions that tests left open, then stops
            process.wait(STOP_S_MAX)
    finally:
        if kept is None:
            shutil.rmtree(folder)


def _unprivileged() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _wait(server: Server) -> None:
    end = time.monotonic() + START_S_MAX
    while True:
        try:
            server.sql("SELECT 1")
        except psycopg.OperationalError:
            if server.process.poll() is not None or time.monotonic() > end:
                raise AssertionError((server.folder / "log").read_text()) from None
            time.sleep(0.05)
        else:
            return
