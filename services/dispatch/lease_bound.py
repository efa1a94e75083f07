"""The time limit of a provider call: its own, and never beyond what our lease covers. Not how long the call may take
(failover.py) nor how leases are renewed (worker.py).
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

# The event loop's clock stands still while a machine is suspended and a lease does not: so it is asked often.
LOOK_EVERY = 1.0


class LeaseEnding(TimeoutError):
    """The block was cut because the lease came to its end and was not renewed."""


def still_ours(lease_left: Callable[[], float]) -> None:
    """Raises LeaseEnding when no time is left: for whoever waits with the first byte."""
    if lease_left() <= 0:
        raise LeaseEnding


@asynccontextmanager
async def within_lease(limit: float, lease_left: Callable[[], float]) -> AsyncIterator[None]:
    """Cuts the block after `limit` seconds (TimeoutError), and as soon as `lease_left()` says that no time is left
    (LeaseEnding); whoever renews the lease meanwhile gives the block more.
    """
    loop = asyncio.get_running_loop()
    scope = asyncio.timeout(limit)
    timer: asyncio.Handle | None = None
    ending = False

    def look() -> None:
        nonlocal ending, timer
        left = lease_left()
        if left > 0:
            timer = loop.call_later(min(left, LOOK_EVERY), look)
        elif not scope.expired():
            ending = True
            scope.reschedule(loop.time())

    try:
        async with scope:
            look()
            try:
                yield
            finally:
                if timer is not None:
                    timer.cancel()
    except TimeoutError as error:
        # The block itself may have raised one of its own before it was cut.
        if ending and scope.expired():
            raise LeaseEnding from error
        raise
