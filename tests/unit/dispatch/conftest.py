"""What tests of the dispatch may ask for."""

import pytest

from tests.unit.dispatch.bench import Bench


@pytest.fixture
def bench() -> Bench:
    """Chain A > B > C, everybody accepts."""
    return Bench()
