"""What tests of the dispatch may ask for."""

import pytest

from tests.unit.dispatch.bench import Bench
from tests.unit.dispatch.shop import Shop


@pytest.fixture
def bench() -> Bench:
    """Chain A > B > C, everybody accepts."""
    return Bench()


@pytest.fixture
async def shop() -> Shop:
    """A worker with ten places."""
    return Shop()
