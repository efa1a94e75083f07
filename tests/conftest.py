"""What every test may ask for: a clean environment and a fresh, migrated PostgreSQL database."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest
import structlog
from hypothesis import settings

from tests import postgres

# A busy machine is no fault: pytest's own time limit is the only one.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings of whoever runs it."""
    for name in list(os.environ):
        if name.startswith("MESSAGEPIPE_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def clean_logging() -> Iterator[None]:
    """What one test says about logs is over with it."""
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The DSN of the run's PostgreSQL, with the migrated template in it."""
    with postgres.running_server() as dsn:
        postgres.make_template(dsn)
        yield dsn


@pytest.fixture
async def database_url(postgres_server: str) -> AsyncIterator[str]:
    """The DSN of a database of the test's own, all migrations applied."""
    async with postgres.cloned_database(postgres_server) as dsn:
        yield dsn
