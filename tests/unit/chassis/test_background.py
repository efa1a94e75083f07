"""Work in the background: it ends with the block, and its own end is a fault."""

import asyncio

import pytest

from services.chassis.background import BackgroundFailed, background


async def test_background_work_that_ends_ends_the_process() -> None:
    """An error in the background sets `stop` and is raised, in one line, at the end of the block."""
    stop = asyncio.Event()

    async def broken() -> None:
        raise RuntimeError("a bug")

    with pytest.raises(BackgroundFailed, match="ended with RuntimeError") as raised:
        async with background(broken, stop):
            await stop.wait()

    assert isinstance(raised.value.__cause__, RuntimeError)


async def test_background_work_ends_with_the_block() -> None:
    """What goes on is cancelled at the end of the block, and that is no fault."""
    stop, ended = asyncio.Event(), asyncio.Event()

    async def lasting() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with background(lasting, stop):
        await asyncio.sleep(0)

    assert ended.is_set()
    assert not stop.is_set()
