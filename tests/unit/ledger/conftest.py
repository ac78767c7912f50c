import pytest
from hypothesis import settings

from unit.ledger.fakes import LedgerTown

# Machines that build and test at once are slow at times: a time limit for one example would find nothing else.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def store_url(request, tmp_path):
    """An empty database: every test that asks for a town runs on both."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    return request.getfixturevalue("postgresql").database()


@pytest.fixture
def town(tmp_path, store_url):
    town = LedgerTown(tmp_path, store_url=store_url)
    yield town
    town.store.close()
