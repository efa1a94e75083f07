"""The way to the dispatch database: connections, transactions, and batches in one commit. It knows no statement."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import asyncpg

from services.chassis.admission import Waits
from services.chassis.batcher import MicroBatcher
from services.chassis.clock import SystemClock
from services.chassis.database import Dsn, acquired, create_pool
from services.chassis.telemetry_common import Flushed
from services.dispatch.errors import DatabaseUnavailable
from services.dispatch.ledger import Connection

T = TypeVar("T")
R = TypeVar("R")

# What asyncpg raises when the database is away, restarting, full or in a conflict: the same statement may work later.
DATABASE_AWAY = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that broke in the middle of a transaction, when it is handed back
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # it was the primary once; the next connection goes to whoever is now
)


Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

# For every connection. A generic plan made while a table was small scans it when it is large.
SETTINGS = {
    "plan_cache_mode": "force_custom_plan",
    "idle_in_transaction_session_timeout": "10000",
    # No statement_timeout: it could cut a COMMIT that waits for a standby, which then looks like success.
    "lock_timeout": "5000",
}
# The batches' few statements find every row by its key, whatever the tables' size; planning one anew each time costs
# more than running it. So their plan is kept, and made such that it can only look keys up.
FOR_BATCHES = {
    **SETTINGS,
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}


async def open_pools(dsn: Dsn, connections: int, name: str) -> tuple[Pool, Pool]:
    """One for everybody and one for the batches, so that what is read never stands in their way. Half of `connections`
    are theirs; at least two, because a batch with keys may wait for another process.
    """
    for_batches = max(connections // 2, 2)
    named = {"application_name": name}
    pool = await create_pool(dsn, size=connections - for_batches, settings=SETTINGS | named)
    try:
        return pool, await create_pool(dsn, size=for_batches, settings=FOR_BATCHES | named)
    except BaseException:
        await pool.close()
        raise


class Access:
    """Connections that say in our words when the database is away: `pool` for everybody, `batches` for the batches."""

    batchers: tuple[MicroBatcher[Any, Any], ...] = ()
    """Who writes in batches."""

    def __init__(self, pool: Pool, batches: Pool) -> None:
        self._pool, self._batches = pool, batches
        self._waits = Waits(SystemClock())

    def measured_by(self, waited: Callable[[float], None], flushed: Flushed) -> None:
        """Tell from now on how long each connection was waited for, and of each batch."""
        self._waits.measured_by(waited)
        for batcher in self.batchers:
            batcher.measured_by(flushed)

    @property
    def longest_wait(self) -> float:
        """Seconds that somebody has been waiting for a connection by now."""
        return self._waits.longest

    async def write_batch(
        self, write: Callable[[Connection, list[T]], Awaitable[list[R]]], batch: list[T]
    ) -> list[R | Exception]:
        """Write a batch in one commit; if the database refuses something in it, each item alone, so that one bad item
        does not take the others with it.
        """
        async with self._one_of(self._batches) as connection:
            try:
                return list(await write(connection, batch))
            except DATABASE_AWAY:
                raise
            except asyncpg.PostgresError:
                if len(batch) == 1:
                    raise
                return [await self._alone(write, connection, item) for item in batch]

    async def _alone(
        self, write: Callable[[Connection, list[T]], Awaitable[list[R]]], connection: Connection, item: T
    ) -> Any:
        """What the item's own commit gave, or what the database refused it with."""
        try:
            written = await write(connection, [item])
        except DATABASE_AWAY:
            raise
        except asyncpg.PostgresError as error:
            return error
        return written[0]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection in a transaction of its own, for statements that stand elsewhere."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection on which each statement is a transaction of its own; whatever says that the database is away
        becomes DatabaseUnavailable.
        """
        async with self._one_of(self._pool) as connection:
            yield connection

    @asynccontextmanager
    async def _one_of(self, pool: Pool) -> AsyncIterator[Connection]:
        try:
            with self._waits.one() as served:
                async with acquired(pool) as connection:
                    served()
                    yield connection
        except DATABASE_AWAY as error:
            raise DatabaseUnavailable from error

    async def fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """The rows of one statement."""
        async with self.connection() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(statement, *arguments)
        return rows

    async def fetchval(self, statement: str, *arguments: object) -> Any:
        """The first column of the first row of one statement."""
        async with self.connection() as connection:
            return await connection.fetchval(statement, *arguments)
