"""What DispatchService throws away when its time is over, in small batches. Receipts: receipt_book.py."""

from typing import Never

from services.chassis.clock import Clock
from services.chassis.log import get_logger
from services.dispatch import key_book
from services.dispatch.errors import DatabaseUnavailable
from services.dispatch.store import Store

PAUSE_SECONDS = 60.0

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
