import pytest

from unit.records.fakes import City


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
