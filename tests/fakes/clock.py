"""Time that moves only when told."""

import asyncio
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)


class FakeClock:
    """A Clock that stands still; `advance` moves wall clock and boot time together and wakes who slept long enough."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed)

    def boottime(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._elapsed + seconds, woken))
        await woken

    def advance(self, seconds: float) -> None:
        self._elapsed += seconds
        due = [woken for at, woken in self._sleepers if at <= self._elapsed]
        self._sleepers = [(at, woken) for at, woken in self._sleepers if at > self._elapsed]
        for woken in due:
            if not woken.done():
                woken.set_result(None)
