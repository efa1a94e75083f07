"""How a replica hears of the writes of another: by notification, and by looking when none arrives."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.adapters.base import Channel
from services.chassis.clock import SystemClock
from services.config.chain import ChainKey, ChangedChain, ChangeHub
from services.config.chain_listener import ChainListener
from services.config.store import Store, open_engine

KEY = ChainKey("shop", Channel.SMS)
NOWHERE = "postgresql://u@127.0.0.1:1/none"


@asynccontextmanager
async def opened_store(database_url: str) -> AsyncIterator[Store]:
    """The way to the test's database."""
    engine = open_engine(database_url)
    yield Store(engine)
    await engine.dispose()


async def bump(store: Store) -> ChangedChain:
    """Another replica's write."""
    async with store.transaction() as transaction:
        await transaction.lock_chain(KEY)
        return await transaction.bump_chain(KEY)


@pytest.mark.parametrize(("listens", "look_seconds"), [(True, 3600.0), (False, 0.1)], ids=["notified", "looking"])
async def test_changes_are_heard_of(database_url: str, listens: bool, look_seconds: float) -> None:
    """A notification alone is enough, and so is looking alone when no notification can arrive."""
    hub, clock = ChangeHub(SystemClock()), SystemClock()
    async with opened_store(database_url) as store:
        dsn = database_url if listens else NOWHERE
        listening = asyncio.create_task(ChainListener(store, hub, dsn, clock, look_seconds=look_seconds).run())
        with hub.watch() as watcher:
            announcements = watcher.announcements()
            await anext(announcements)
            first = await bump(store)
            assert (await asyncio.wait_for(anext(announcements), 10)).changes == (first,)
            second = await bump(store)
            assert (await asyncio.wait_for(anext(announcements), 10)).changes == (second,)
        listening.cancel()
        await asyncio.wait([listening])


async def test_late_commit_is_not_missed(database_url: str) -> None:
    """A change whose commit came after a look that began later is seen by the next look."""
    hub = ChangeHub(SystemClock())
    async with opened_store(database_url) as store:
        listener = ChainListener(store, hub, database_url, SystemClock())
        with hub.watch() as watcher:
            announcements = watcher.announcements()
            await anext(announcements)
            async with store.transaction() as transaction:
                await transaction.lock_chain(KEY)
                change = await transaction.bump_chain(KEY)
                since = await listener.look(None)
            await listener.look(since)
            assert (await asyncio.wait_for(anext(announcements), 1)).changes == (change,)
