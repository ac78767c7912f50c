import pytest
from hypothesis import settings

from unit.ledger.fakes import LedgerTown

# Machines that build and test at once are slow at times: a time limit for one example would find nothing else.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture
def town(tmp_path, store_url):
    town = LedgerTown(tmp_path, store_url=store_url)
    yield town
    town.store.close()
