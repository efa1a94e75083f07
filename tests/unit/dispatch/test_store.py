"""What the store makes of a database that goes away; its statements are tested against PostgreSQL in integration."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import asyncpg
import pytest

from services.chassis.connection import CommitNotReplicated
from services.dispatch.errors import DatabaseUnavailable
from services.dispatch.store import Store


class BreakingPool:
    """A pool whose connection is found broken when it is handed back, as after a crash of the server."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator["BreakingPool"]:
        """A connection; giving it back fails."""
        yield self
        raise self._error

    async def fetchval(self, *_: object) -> None:
        """Nothing was found."""

    async def expire_connections(self) -> None:
        """There is one, and it is broken."""


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress"),
        asyncpg.ConnectionDoesNotExistError(),
        asyncpg.AdminShutdownError(),
        asyncpg.CannotConnectNowError(),
        asyncpg.TooManyConnectionsError(),
        asyncpg.DeadlockDetectedError(),
        asyncpg.ReadOnlySQLTransactionError(),
        CommitNotReplicated(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_database_that_goes_away_is_unavailable(error: Exception) -> None:
    """Every way in which the driver tells it is UNAVAILABLE: the caller tries again, and a result is not given up."""
    store = Store(cast(Any, BreakingPool(error)), cast(Any, BreakingPool(error)), worker="w", lease_seconds=30.0)

    with pytest.raises(DatabaseUnavailable):
        await store.project_position()
