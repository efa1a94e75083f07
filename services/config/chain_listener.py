"""Hears of the chains that other replicas changed: the table, looked at every second, is the truth; NOTIFY is a hint.

Config is written rarely, so a notification per commit is no burden here (design decision 4 is about hot transactions).
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Never

import asyncpg

from services.chassis.clock import Clock
from services.chassis.database import Dsn, connect
from services.chassis.log import get_logger
from services.config.chain import ChangeHub
from services.config.errors import DatabaseUnavailable
from services.config.statements import NOTIFY_CHANNEL
from services.config.store import Store

LOOK_SECONDS = 1.0
RECONNECT_SECONDS = 1.0

_log = get_logger()


class ChainListener:
    """Tells the hub of every change, whoever made it, within about a second, sooner while notifications arrive."""

    def __init__(
        self, store: Store, hub: ChangeHub, dsn: Dsn, clock: Clock, *, look_seconds: float = LOOK_SECONDS
    ) -> None:
        self._store = store
        self._hub = hub
        self._dsn = dsn
        self._clock = clock
        self._look_seconds = look_seconds
        self._hint = asyncio.Event()

    async def run(self) -> Never:
        """Until cancelled; a database that is away is waited for."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_looking())
            tasks.create_task(self._keep_listening())
        raise AssertionError("both run until they are cancelled")

    async def look(self, since: datetime | None) -> datetime:
        """Tells the hub what changed since the look before; the answer is to be handed to the next look."""
        async with self._store.transaction() as transaction:
            now = await transaction.now()
            changes = await transaction.changed_chains(since or now)
        for change in changes:
            self._hub.tell(change)
        return now

    async def _keep_looking(self) -> Never:
        since: datetime | None = None
        while True:
            try:
                since = await self.look(since)
            except DatabaseUnavailable:
                _log.warning("chain_changes_not_seen")
            await _within(self._look_seconds, self._hint.wait)
            self._hint.clear()

    async def _keep_listening(self) -> Never:
        while True:
            try:
                await self._listen()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
                _log.warning("chain_notifications_lost", error=type(error).__name__)
            await self._clock.sleep(RECONNECT_SECONDS)

    async def _listen(self) -> None:
        """Returns when the connection is gone."""
        gone = asyncio.Event()
        connection = await connect(self._dsn)
        try:
            connection.add_termination_listener(lambda _connection: gone.set())
            await connection.add_listener(NOTIFY_CHANNEL, lambda *_notification: self._hint.set())
            self._hint.set()  # what was notified before we listened
            await gone.wait()
        finally:
            # Not close(): that says goodbye over a connection which may be dead, and keeps the process from stopping.
            connection.terminate()


async def _within(seconds: float, wait: Callable[[], Awaitable[object]]) -> None:
    try:
        async with asyncio.timeout(seconds):
            await wait()
    except TimeoutError:
        return
