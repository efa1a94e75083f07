"""A real ConfigService on port 0 with a database of its own, and callers with tokens."""

from collections.abc import AsyncIterator

import pytest

from services.config.app import RunningConfig
from tests.integration.config.service import Caller, a_settings, calling, opened


@pytest.fixture
async def config(database_url: str) -> AsyncIterator[RunningConfig]:
    """A running ConfigService with the kinds that are installed."""
    async with opened(a_settings(database_url)) as running:
        yield running


@pytest.fixture
async def caller(config: RunningConfig) -> AsyncIterator[Caller]:
    """A caller whose token names project `shop` and holds every scope."""
    async with calling(config.address) as someone:
        yield someone
