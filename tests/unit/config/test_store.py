"""Which failures of a transaction pass by themselves."""

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from services.config.store import is_passing


class DriverError(Exception):
    """An error as SQLAlchemy's asyncpg dialect hands it on."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


def wrapped(sqlstate: str, *, lost: bool = False) -> DBAPIError:
    """SQLAlchemy's error around a driver's."""
    return DBAPIError("SELECT 1", None, DriverError(sqlstate), connection_invalidated=lost)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        PoolTimeoutError(),
        asyncpg.CannotConnectNowError(),
        asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress"),
        wrapped("08006"),
        wrapped("53300"),
        wrapped("57P01"),
        wrapped("40P01"),
        wrapped("55P03"),
        wrapped("25006"),
        wrapped("", lost=True),
    ],
)
def test_passing(error: Exception) -> None:
    """A lost connection, a full server, a shutdown, a deadlock, a lock not had, a standby: try again."""
    assert is_passing(error)


@pytest.mark.parametrize("error", [ValueError(), wrapped("23505"), wrapped("22P02"), wrapped("42P01"), KeyError("x")])
def test_not_passing(error: Exception) -> None:
    """A mistake of ours stays one however often it is tried."""
    assert not is_passing(error)


def test_missing_table_is_not_passing() -> None:
    """Migrations that were not applied are not mended by waiting."""
    assert not is_passing(ProgrammingError("SELECT 1", None, DriverError("42P01")))
