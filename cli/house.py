"""The processes of `up` in their order: started one after the other, stopped in reverse. Not what they are."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from cli.logs import keep_small
from cli.process import Child, Program
from services.chassis.clock import Clock


class House:
    """Children in the order of their start. The last one stops first, so that none loses what it stands on."""

    def __init__(self, group: asyncio.TaskGroup, *, clock: Clock, say: Callable[[str], None]) -> None:
        self._group = group
        self._clock = clock
        self._say = say
        self._children: list[Child] = []

    @property
    def children(self) -> Sequence[Child]:
        """Everything that was started."""
        return tuple(self._children)

    def start(self, program: Program) -> Child:
        """Run a program and keep it alive from now on."""
        child = Child(program, clock=self._clock, say=self._say)
        self._children.append(child)
        self._group.create_task(child.keep_alive())
        return child

    def settle(self) -> None:
        """Everything started well: from now on whatever ends is started again."""
        for child in self._children:
            child.settle()

    async def stop(self) -> None:
        """Every process has ended when this returns: each is asked before the one it stands on, and has its head start;
        the foundation is asked when nobody stands on it any more.
        """
        stops: list[asyncio.Task[None]] = []
        for child in reversed(self._children):
            if child.program.foundation:
                await asyncio.gather(*stops)
            stop = asyncio.create_task(child.stop())
            stops.append(stop)
            await asyncio.wait([stop], timeout=child.program.head_start)
        await asyncio.gather(*stops)

    def kill(self) -> None:
        """End every process now."""
        for child in reversed(self._children):
            child.kill()


@asynccontextmanager
async def open_house(*, clock: Clock, say: Callable[[str], None]) -> AsyncIterator[House]:
    """A house whose processes live within the block; whatever ends the block, no process outlives it."""
    async with asyncio.TaskGroup() as group:
        house = House(group, clock=clock, say=say)
        keeper = group.create_task(_keep_logs_small(house, clock))
        try:
            yield house
        finally:
            await house.stop()
            keeper.cancel()


async def _keep_logs_small(house: House, clock: Clock) -> None:
    await keep_small(lambda: [child.program.log for child in house.children if child.program.log], clock)
