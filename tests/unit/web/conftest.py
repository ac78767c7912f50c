import pytest

from unit.web.town import town as a_town


@pytest.fixture
async def town(tmp_path):
    async with a_town(tmp_path) as town:
        yield town
