"""What DispatchService does beside its work, in small transactions: idempotency keys whose time is over go, the
delivery log gets its marks. Receipts: receipt_book.py.
"""

from typing import Never

from services.chassis.clock import Clock
from services.chassis.log import get_logger
from services.dispatch import key_book, mark_book
from services.dispatch.errors import DatabaseUnavailable
from services.dispatch.store import Store

PAUSE_SECONDS = 60.0
MARK_SECONDS = 15.0

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
