"""What DispatchService does beside its work, in small transactions: idempotency keys whose time is over go, the
delivery log gets its marks, partitions are made ahead and dropped behind. Receipts: receipt_book.py.
"""

from datetime import timedelta
from typing import Never

import asyncpg

from services.chassis.clock import Clock
from services.chassis.log import get_logger
from services.dispatch import key_book, mark_book, partition_book, partitions, rollup_book
from services.dispatch.errors import DatabaseUnavailable
from services.dispatch.store import Store

PAUSE_SECONDS = 60.0
MARK_SECONDS = 15.0
COUNT_SECONDS = 5.0
# As many small transactions at a time: by the minute more rows than receipts can come in.
SWEEPS = 100

_log = get_logger()


async def sweep_keys(store: Store) -> int:
    """Every idempotency key whose time is over is gone, a small transaction per batch; answers how many."""
    swept = 0
    while True:
        async with store.transaction() as connection:
            count = await key_book.sweep(connection)
        swept += count
        if count < key_book.SWEEP_ROWS:
            return swept


async def keep_sweeping(store: Store, clock: Clock) -> Never:
    """Until cancelled: once a minute. An expired key counts as new before it is swept, so being late does no harm."""
    while True:
        await clock.sleep(PAUSE_SECONDS)
        try:
            await sweep_keys(store)
        except DatabaseUnavailable as error:
            _log.warning("sweep_failed", cause=type(error.__cause__).__name__)


async def mark_log(store: Store) -> None:
    """Every project's messages that are old enough are counted and marked, unless another dispatcher is at it."""
    after = ""
    while True:
        async with store.transaction() as connection:
            if not await mark_book.is_ours(connection):
                return
            projects = await mark_book.projects_after(connection, after)
            if not projects:
                await mark_book.name_projects(connection)
                return
            more = await mark_book.advance(connection, projects, await mark_book.horizon(connection))
        after = after if more else projects[-1]


async def keep_marking(store: Store, clock: Clock) -> Never:
    """Until cancelled. A mark that comes late makes pages far back slower, never wrong."""
    while True:
        await clock.sleep(MARK_SECONDS)
        try:
            await mark_log(store)
        except DatabaseUnavailable as error:
            _log.warning("marking_failed", cause=type(error.__cause__).__name__)


async def keep_partitions(store: Store, retention: timedelta, *, passed: timedelta = timedelta(0)) -> None:
    """Partitions are there for what comes next, and what is past its retention is gone, unless another dispatcher is
    at it. Each is done though another fails; what failed first is raised at the end. `passed` is how much later than
    the database's clock it is, for tests.
    """
    failed: list[Exception] = []
    for part in (_make, _drop, _sweep):
        try:
            await part(store, retention, passed)
        except (DatabaseUnavailable, asyncpg.PostgresError) as error:
            failed.append(error)
    if failed:
        raise failed[0]


async def _make(store: Store, retention: timedelta, passed: timedelta) -> None:
    async with store.transaction() as connection:
        if not await partition_book.is_ours(connection):
            return
        there = await partition_book.there(connection)
        late = await partition_book.has_rows_behind(connection, there[-1].upper)
        wanted = partitions.missing(there, await partition_book.now(connection) + passed, retention, late=late)
        for partition in wanted:
            await partition_book.make(connection, partition)
    if wanted:
        _log.info("partitions_made", names=[partition.name for partition in wanted])


async def _drop(store: Store, retention: timedelta, passed: timedelta) -> None:
    async with store.connection() as connection:
        there, now = await partition_book.there(connection), await partition_book.now(connection) + passed
    for partition in partitions.expired(there, now, retention):
        async with store.transaction() as connection:
            if await partition_book.is_ours(connection) and await partition_book.drop(connection, partition):
                await partition_book.forget_marks(connection, partition.upper)
                _log.info("partition_dropped", name=partition.name)


async def _sweep(store: Store, retention: timedelta, passed: timedelta) -> None:
    for _ in range(SWEEPS):
        async with store.transaction() as connection:
            if not await partition_book.is_ours(connection):
                return
            swept = await partition_book.sweep(connection, await partition_book.now(connection) + passed - retention)
            await rollup_book.forget(connection)
        if swept < partition_book.SWEEP_ROWS:
            return


async def keep_parting(store: Store, clock: Clock, retention: timedelta) -> Never:
    """Until cancelled: once a minute. While it fails, messages are accepted all the same, into the rest."""
    while True:
        await clock.sleep(PAUSE_SECONDS)
        try:
            await keep_partitions(store, retention)
        except DatabaseUnavailable as error:
            _log.info("partitions_later", cause=type(error.__cause__).__name__)
        except asyncpg.PostgresError as error:
            _log.warning("partitions_failed", cause=type(error).__name__)


async def count_events(store: Store) -> None:
    """Every project's events up to now are in the roll-ups, unless another dispatcher is at it. Each batch of a project
    is a transaction of its own.
    """
    after = ""
    while True:
        async with store.connection() as connection:
            projects, after = await rollup_book.projects_with_news(connection, after)
        for project_id in projects:
            while await _count_some(store, project_id):
                pass
        if not after:
            return


async def _count_some(store: Store, project_id: str) -> bool:
    async with store.transaction() as connection:
        return await rollup_book.is_ours(connection) and await rollup_book.count(connection, project_id)


async def keep_counting(store: Store, clock: Clock) -> Never:
    """Until cancelled. Counts that come late are complete all the same: what was counted is remembered."""
    while True:
        await clock.sleep(COUNT_SECONDS)
        try:
            await count_events(store)
        except DatabaseUnavailable as error:
            _log.warning("counting_failed", cause=type(error.__cause__).__name__)
