"""The only place that asks the time. Not a scheduler: it tells the time and waits."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Time as the rest of the program may see it; tests hand in one that moves only when told."""

    def now(self) -> datetime:
        """The wall clock, always aware and in UTC. It may jump."""
        ...

    def boottime(self) -> float:
        """Seconds since some fixed point; never goes back, and counts suspension where the system can."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Returns no earlier than `seconds` from now."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def boottime(self) -> float:
        return _boottime()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _boottime() -> float:
    # CLOCK_MONOTONIC stands still while a laptop sleeps, so a lease would look valid after waking up.
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
