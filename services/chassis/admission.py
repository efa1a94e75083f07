"""Who is let in: bounds on what a server has under way, held before any work is done. It knows no method.

Refusing costs microseconds, so a server that has too much to do says so at once, with a time to come back that differs
from caller to caller; what was let in is finished. Requests are read only after their caller was let in and known:
until then a request costs its window (64 KiB), not its size.
"""

import asyncio
import contextlib
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from services.chassis.clock import Clock
from services.chassis.errors import DeadlineExceeded, ResourceExhausted, Unavailable

T = TypeVar("T")

# A caller who waits less than this is gone before an answer could be there (reliability: "refuse if < 20 ms").
SHORTEST_DEADLINE = 0.02
RETRY_SECONDS = 1.0
# A door that closes waits until nobody has come for so long, but at most so long; then turns people away.
LEAVING_QUIET, LEAVING_SECONDS = 0.1, 2.0
QUIET, TURN_AWAY_SECONDS = 0.02, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one process takes on at once: calls with one answer, streams, and requests that are being read, each of
    which may take `read_seconds`. A stream whose reader takes nothing for `stall_seconds` is ended, and cut off
    `parting_seconds` later when the reader does not read its end either.
    """

    calls: int = 4000
    streams: int = 4000
    reading: int = 64
    read_seconds: float = 60.0
    stall_seconds: float = 60.0
    parting_seconds: float = 5.0


def overloaded(
    what: str, *, after: float = RETRY_SECONDS, fraction: Callable[[], float] = random.random
) -> ResourceExhausted:
    """RESOURCE_EXHAUSTED (OVERLOADED) with RetryInfo of half to one and a half times `after` seconds: callers who are
    refused together must not come back together.
    """
    return ResourceExhausted(what, retry_after=after * (0.5 + fraction()))


def check_deadline(remaining: float | None) -> None:
    """Raises DeadlineExceeded (DEADLINE_TOO_SHORT) when the caller will be gone before anything could be answered."""
    if remaining is not None and remaining < SHORTEST_DEADLINE:
        least = f"{SHORTEST_DEADLINE * 1000:g} ms"
        raise DeadlineExceeded(f"Less than {least} were left; nothing was done.", reason="DEADLINE_TOO_SHORT")


class Waits:
    """Who waits for something scarce, and since when."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: OrderedDict[object, float] = OrderedDict()
        self._waited: Callable[[float], None] | None = None

    def measured_by(self, waited: Callable[[float], None]) -> None:
        """Tell `waited` from now on how long each one has waited, in seconds."""
        self._waited = waited

    @contextmanager
    def one(self) -> Iterator[Callable[[], None]]:
        """Somebody waits from here on, until what the block is handed is called, or until its end."""
        token = object()
        self._since[token] = self._clock.boottime()

        def served() -> None:
            since = self._since.pop(token, None)
            if since is not None and self._waited is not None:
                self._waited(self._clock.boottime() - since)

        try:
            yield served
        finally:
            served()

    @property
    def longest(self) -> float:
        """Seconds that the first of those who still wait has waited; 0 when nobody does."""
        first = next(iter(self._since.values()), None)
        return 0.0 if first is None else self._clock.boottime() - first


class Admission:
    """The door of a server. `strained` answers that something behind it is waited for too long already."""

    def __init__(self, limits: Limits | None = None, *, strained: Callable[[], bool] = lambda: False) -> None:
        self.limits = limits or Limits()
        self._strained = strained
        self._calls = 0
        self._streams = 0
        self._arrivals = 0
        self._closed = False
        self._idle, self._no_calls = asyncio.Event(), asyncio.Event()
        self._idle.set()
        self._no_calls.set()
        self._reading = asyncio.Semaphore(self.limits.reading)

    @property
    def under_way(self) -> int:
        """How many calls and streams were let in and have not ended."""
        return self._calls + self._streams

    @property
    def calls(self) -> int:
        """How many calls with one answer are under way."""
        return self._calls

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return self._streams

    @contextmanager
    def one(self, *, stream: bool) -> Iterator[None]:
        """One call or stream, under way for as long as the block. Raises before it is entered: ResourceExhausted, or
        Unavailable once the door is closed.
        """
        self._arrivals += 1
        if self._closed:
            raise Unavailable("The service is stopping; nothing was done.", retry_after=0.1)
        if self._strained():
            raise overloaded("The database is waited for too long already; nothing was done.")
        if stream and self._streams >= self.limits.streams:
            raise overloaded("Too many streams are open; nothing was done.")
        if not stream and self._calls >= self.limits.calls:
            raise overloaded("Too many calls are under way; nothing was done.")
        self._count(1, stream=stream)
        try:
            yield
        finally:
            self._count(-1, stream=stream)

    async def close(self) -> None:
        """Returns when the door is closed and nobody stands before it, as far as that can be had.

        Callers who watch our health have heard that we stop serving: once nobody has come for a moment they have all
        left. Others are turned away then. gRPC would cancel whoever stands before the door of a server that stops and
        is behind with its work, and what was cancelled nobody tries again.
        """
        await self._nobody_for(LEAVING_QUIET, LEAVING_SECONDS)
        self._closed = True
        await self._nobody_for(QUIET, TURN_AWAY_SECONDS)

    async def _nobody_for(self, quiet: float, at_most: float) -> None:
        seen = -1
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most):
                while seen != self._arrivals:
                    seen = self._arrivals
                    await asyncio.sleep(quiet)

    async def idle(self) -> None:
        """Returns when nothing is under way."""
        await self._idle.wait()

    async def no_calls(self) -> None:
        """Returns when nothing but streams is under way."""
        await self._no_calls.wait()

    async def read(self, read: Callable[[], Awaitable[T]]) -> T:
        """The request, once it is one of the few that may be read at a time: so the bytes of half-read requests are
        bounded. Raises ResourceExhausted when its turn does not come, DeadlineExceeded when it does not arrive.
        """
        await self._turn()
        try:
            async with asyncio.timeout(self.limits.read_seconds):
                return await read()
        except TimeoutError:
            seconds = f"{self.limits.read_seconds:g} s"
            raise DeadlineExceeded(f"The request did not arrive within {seconds}.") from None
        finally:
            self._reading.release()

    async def _turn(self) -> None:
        if not self._reading.locked():
            await self._reading.acquire()  # at once
            return
        try:
            async with asyncio.timeout(RETRY_SECONDS):
                await self._reading.acquire()
        except TimeoutError:
            raise overloaded("Too many requests are being read; nothing was done.") from None

    def _count(self, change: int, *, stream: bool) -> None:
        if stream:
            self._streams += change
        else:
            self._calls += change
        for event, count in ((self._idle, self.under_way), (self._no_calls, self._calls)):
            if count:
                event.clear()
            else:
                event.set()
