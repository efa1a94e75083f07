"""The world in miniature that state machine, walk and stories happen in."""

import asyncio
from collections.abc import Iterator

import pytest

from services.dispatch import delivery, settler, suspects
from tests import postgres
from tests.chaos.pair import clocked
from tests.chaos.quiet import Looks
from tests.chaos.world import World


@pytest.fixture
def world(postgres_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[World, asyncio.Runner]]:
    """A world over a database of its own, and the loop that it lives in."""
    looks = Looks()
    monkeypatch.setattr(delivery, "within_lease", looks.within_lease)
    monkeypatch.setattr(settler, "ON_STOP", 0)  # who is killed or told to stop does not get to write
    monkeypatch.setattr(suspects, "ALONE_SECONDS", 0)  # the answers of providers are the test's to give
    with asyncio.Runner() as runner:
        cloned = postgres.cloned_database(postgres_server)
        dsn = runner.run(cloned.__aenter__())
        clock = clocked(dsn)
        database = runner.run(clock.__aenter__())
        yield World(database, looks), runner
        runner.run(clock.__aexit__(None, None, None))
        runner.run(cloned.__aexit__(None, None, None))
