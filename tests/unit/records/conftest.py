import shutil

import pytest
import structlog

from passerelle.telemetry import error_class, scrub
from unit.records.fakes import City
from unit.records.told import told_city


@pytest.fixture(autouse=True)
def _plain_logs():
    """As in production: an exception's class, not a painted traceback with all its locals."""
    structlog.configure(processors=[error_class, scrub, structlog.processors.JSONRenderer()])
    yield
    structlog.reset_defaults()


@pytest.fixture
async def city(store_url):
    city = City(store_url)
    await city.up()
    yield city
    await city.down()


@pytest.fixture
async def slow_city(store_url):
    """Nobody applies anything until the test says so, and requests have no patience at all."""
    city = City(store_url, patience_s=0, diligent=False)
    await city.up()
    yield city
    await city.down()


@pytest.fixture
async def told(store_url, request, tmp_path, lend):
    """A city with its ledger, both on the same kind of database."""
    folder, ledger_url = tmp_path / "ledger", None
    folder.mkdir()
    if store_url.startswith("postgresql"):
        ledger_url = lend()
    else:
        shutil.copy(request.getfixturevalue("file_with_tables"), folder / "ledger.sqlite")
    told = told_city(store_url, ledger_url, folder)
    await told.city.up()
    yield told
    await told.city.down()
    told.city.ledger.close()
    told.town.store.close()


@pytest.fixture
async def marie(told):
    """A citizen's pseudonym at the citizens' desk."""
    (pseudonym,) = await told.city.link("Durand")
    return pseudonym
