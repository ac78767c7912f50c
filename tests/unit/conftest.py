"""Databases for the stores' tests: each on SQLite, and on PostgreSQL where it is installed.

`store_url` holds the tables already: on SQLite in a copy of what the revisions made once, on PostgreSQL from the last
test, emptied. To make them takes longer than most tests. `empty_url` is for tests of the revisions themselves.
"""

import shutil

import pytest
import sqlalchemy as sa

from passerelle_consent.ledger.database import migrations as of_the_ledger
from passerelle_consent.records import migrations as of_consent

ON_BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]


def with_tables(url):
    """Bring an empty database to the newest revisions; it may hold the consent store and the ledger."""
    engine = sa.create_engine(url)
    with engine.begin() as conn:
        of_consent.migrate(conn)
        of_the_ledger.migrate(conn)
    engine.dispose()
    return url


@pytest.fixture(scope="session")
def file_with_tables(tmp_path_factory):
    path = tmp_path_factory.mktemp("tables") / "store.sqlite"
    with_tables(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def databases_at_rest():
    """With tables, and empty. To make another one is the server's work of a quarter of a second."""
    return []


@pytest.fixture
def lend(databases_at_rest, request):
    """Gives a test databases with tables on the server; they are emptied for the next one."""
    lent = []

    def one():
        server = request.getfixturevalue("postgresql")
        lent.append(databases_at_rest.pop() if databases_at_rest else with_tables(server.database()))
        return lent[-1]

    yield one
    for url in lent:
        request.getfixturevalue("postgresql").empty(url)
        databases_at_rest.append(url)


@pytest.fixture(params=ON_BOTH)
def empty_url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.sqlite'}"
    return request.getfixturevalue("postgresql").database()


@pytest.fixture(params=ON_BOTH)
def store_url(request, tmp_path, lend):
    if request.param == "sqlite":
        path = shutil.copy(request.getfixturevalue("file_with_tables"), tmp_path / "store.sqlite")
        return f"sqlite:///{path}"
    return lend()
