"""Looks at the active API keys in the database, several times a second and whenever one changed, over a connection of
its own: whoever keeps the pool busy must not keep keys from being checked. What is seen goes into the feed.
"""

import asyncio
from typing import Never

import asyncpg

from services.chassis.api_keys import ActiveKey
from services.chassis.clock import Clock
from services.chassis.connection import GuardedConnection
from services.chassis.database import Dsn, connect
from services.chassis.log import get_logger
from services.config.api_key_feed import ApiKeyFeed
from services.config.api_key_statements import NOTIFY_CHANNEL

# A quarter of what FRESH_SECONDS leaves a dispatcher, so that one look may be late.
LOOK_SECONDS = 0.2
# Looks that are asked for by writes: not more often than this.
LEAST_SECONDS = 0.01
RECONNECT_SECONDS = 0.2
STATEMENT_SECONDS = 5.0

# A server that follows another one may be behind: what it does not have yet may have happened.
_VERSION = "SELECT version, pg_is_in_recovery() AS follows FROM config.api_key_roll"
# One statement sees one moment: the version and the keys belong together. All projects', as dispatchers serve all.
_ROLL = """
    SELECT roll.version, keys.hash, keys.id::text, keys.project_id
    FROM config.api_key_roll AS roll LEFT JOIN config.api_keys AS keys ON keys.is_active
"""

_log = get_logger()


class _Follows(Exception):
    """The server is not the one that takes writes."""


class ApiKeyReader:
    """Keeps a feed as new as the database."""

    def __init__(self, feed: ApiKeyFeed, dsn: Dsn, clock: Clock, *, look_seconds: float = LOOK_SECONDS) -> None:
        self._feed, self._dsn, self._clock, self._look_seconds = feed, dsn, clock, look_seconds

    async def run(self) -> Never:
        """Until cancelled; a database that is away is waited for."""
        while True:
            try:
                await self._keep_looking()
            except (
                _Follows,
                OSError,
                asyncpg.PostgresError,
                asyncpg.InterfaceError,
                asyncpg.InternalClientError,
            ) as error:
                _log.warning("api_keys_not_seen", error=type(error).__name__)
            await self._clock.sleep(RECONNECT_SECONDS)

    async def _keep_looking(self) -> Never:
        settings = {"application_name": "messagepipe-api-keys"}
        connection = await connect(self._dsn, settings, statement_seconds=STATEMENT_SECONDS)
        try:
            await connection.add_listener(NOTIFY_CHANNEL, lambda *_notification: self._feed.look_now.set())
            while True:
                self._feed.look_now.clear()
                await self.look(connection)
                await self._clock.sleep(LEAST_SECONDS)
                await self._hint()
        finally:
            # Not close(): that says goodbye over a connection which may be dead, and keeps the process from stopping.
            connection.terminate()

    async def look(self, connection: GuardedConnection) -> None:
        """The feed knows what was committed before this was called."""
        question = self._feed.ask()
        seen = await connection.fetchrow(_VERSION)
        if seen is None or seen["follows"]:
            raise _Follows
        if seen["version"] == self._feed.version:
            self._feed.same(question)
            return
        rows = await connection.fetch(_ROLL)
        keys = {
            row["hash"]: ActiveKey(hash=row["hash"], id=row["id"], project_id=row["project_id"])
            for row in rows
            if row["hash"] is not None
        }
        self._feed.changed(question, rows[0]["version"], keys)

    async def _hint(self) -> None:
        try:
            async with asyncio.timeout(self._look_seconds):
                await self._feed.look_now.wait()
        except TimeoutError:
            return
