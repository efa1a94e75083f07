"""The way to the database: an engine with our limits, transactions, and what "away" means. No statements."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from services.chassis.admission import Waits
from services.chassis.clock import SystemClock
from services.chassis.database import Dsn
from services.chassis.engine import create_engine
from services.chassis.log import get_logger
from services.config.errors import DatabaseUnavailable
from services.config.statements import Transaction

if TYPE_CHECKING:  # chassis/engine.py says why only then
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

POOL_SIZE = 8
POOL_TIMEOUT_SECONDS = 3.0
# The whole transaction, on this side. A statement_timeout could cut a COMMIT that waits for a standby, and the server
# would call that a success; here it ends in an error, so nothing is acknowledged that is not durable.
TRANSACTION_SECONDS = 5.0
SESSION = (
    "SET lock_timeout = '3s'; SET idle_in_transaction_session_timeout = '10s';"
    "SET application_name = 'messagepipe-config'"
)

# Connection lost, out of resources, shut down, system error, read-only after a failover, lock not had, serialisation.
_PASSING = ("08", "53", "57", "58", "25006", "55P03", "40001", "40P01")
# What comes out of the driver bare: while connecting, and of a connection that broke in the middle of a transaction.
_DRIVER = (asyncpg.InterfaceError, asyncpg.InternalClientError, asyncpg.PostgresError)

_log = get_logger()


def open_engine(dsn: Dsn) -> "AsyncEngine":
    """An engine with our limits; parameters, which may be people's settings, never appear in its errors."""
    engine = create_engine(dsn, size=POOL_SIZE, max_overflow=0, pool_timeout=POOL_TIMEOUT_SECONDS, hide_parameters=True)

    @event.listens_for(engine.sync_engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.run_async(lambda driver: driver.execute(SESSION))

    return engine


class Store:
    """Transactions on the database; everything that keeps one from ending is DatabaseUnavailable."""

    def __init__(self, engine: "AsyncEngine") -> None:
        self._engine = engine
        self._waits = Waits(SystemClock())

    def measured_by(self, waited: Callable[[float], None]) -> None:
        """Tell from now on how long each connection was waited for."""
        self._waits.measured_by(waited)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["Transaction"]:
        """One transaction, committed at the end of the block unless it raises; READ COMMITTED."""
        try:
            async with asyncio.timeout(TRANSACTION_SECONDS), self._connected() as connection, connection.begin():
                yield Transaction(connection)
        except Exception as error:
            if not is_passing(error):
                raise
            raise _unavailable(error) from error

    async def ping(self) -> None:
        """Returns when the database answers; raises DatabaseUnavailable."""
        async with self.transaction() as transaction:
            await transaction.ping()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator["AsyncConnection"]:
        async with AsyncExitStack() as stack:
            try:
                with self._waits.one():
                    connection = await stack.enter_async_context(self._engine.connect())
            except DBAPIError as error:  # while connecting, whatever is wrong is wrong with the way there
                raise _unavailable(error) from error
            yield connection


def is_passing(error: BaseException) -> bool:
    """Whether the same may succeed later: the database is away, overloaded, changing over, or held by others."""
    if isinstance(error, (OSError, TimeoutError, PoolTimeoutError, *_DRIVER)):
        return True
    if isinstance(error, DBAPIError):
        lost = error.connection_invalidated or isinstance(error, InterfaceError)
        return lost or (_sqlstate(error) or "").startswith(_PASSING)
    return False


def _unavailable(error: Exception) -> DatabaseUnavailable:
    _log.warning("database_unavailable", error=type(error).__name__, sqlstate=_sqlstate(error))
    return DatabaseUnavailable()


def _sqlstate(error: BaseException) -> str | None:
    found = getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None)
    return found if isinstance(found, str) else None
