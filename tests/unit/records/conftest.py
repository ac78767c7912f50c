import pytest
import structlog

from passerelle.telemetry import error_class, scrub
from unit.records.fakes import City


@pytest.fixture(autouse=True)
def _plain_logs():
    """As in production: an exception's class, not a painted traceback with all its locals."""
    structlog.configure(processors=[error_class, scrub, structlog.processors.JSONRenderer()])
    yield
    structlog.reset_defaults()


@pytest.fixture
async def city(tmp_path):
    city = City(tmp_path)
    await city.up()
    yield city
    await city.down()


@pytest.fixture
async def slow_city(tmp_path):
    """Nobody applies anything until the test says so, and requests have no patience at all."""
    city = City(tmp_path, patience_s=0, diligent=False)
    await city.up()
    yield city
    await city.down()
