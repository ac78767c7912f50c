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


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def store_url(request, tmp_path):
    """An empty store: every test that asks for a city runs on both databases."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/consent.db"
    return request.getfixturevalue("postgresql").database()


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
async def told(store_url, request, tmp_path):
    """A city with its ledger, both on the same kind of database."""
    on_server = store_url.startswith("postgresql")
    ledger_url = request.getfixturevalue("postgresql").database() if on_server else None
    told = told_city(store_url, ledger_url, tmp_path / "ledger")
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
