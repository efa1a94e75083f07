"""A flush for the tests of batches, and time for it to run."""

import asyncio
from collections.abc import Callable


class Sink:
    """A flush that remembers its batches and ends only when allowed to."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.running = 0
        self.most_running = 0
        self.answer: Callable[[list[int]], list[int]] = lambda items: [item * 10 for item in items]

    async def flush(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            await self.open.wait()
            return self.answer(items)
        finally:
            self.running -= 1


async def settle() -> None:
    """Lets everything run that can run now."""
    for _ in range(10):
        await asyncio.sleep(0)
