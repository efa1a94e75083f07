"""When a paced writer rests, and for whom it does not."""

import asyncio
from collections.abc import Awaitable, Callable

from services.chassis.batcher import MicroBatcher
from tests.unit.chassis.sink import Sink, settle
from tests.unit.chassis.test_batcher import all_of


def slow(sink: Sink, starts: list[float]) -> Callable[[list[int]], Awaitable[list[int]]]:
    """The sink's flush, which takes a twentieth of a second and notes when it starts."""

    async def flush(items: list[int]) -> list[int]:
        starts.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.05)
        return await sink.flush(items)

    return flush


async def test_a_paced_writer_rests_and_gathers():
    """What comes right after a flush waits until `pace` seconds have passed since its start, and goes together."""
    sink, starts = Sink(), list[float]()
    batcher = MicroBatcher(slow(sink, starts), name="t", max_delay=0, pace=0.2)
    await batcher.submit(1)
    await all_of(batcher, range(2, 5))
    assert sink.batches == [[1], [2, 3, 4]]
    assert starts[1] - starts[0] >= 0.2


async def test_who_comes_later_waits_for_nobody():
    """Once the pace is over, a flush starts at once; one that took longer than the pace is followed by the next."""
    sink, starts = Sink(), list[float]()
    batcher = MicroBatcher(slow(sink, starts), name="t", max_delay=0, pace=0.04)
    await batcher.submit(1)
    ended = asyncio.get_running_loop().time()
    await batcher.submit(2)
    assert starts[1] - ended < 0.04


async def test_who_hurries_takes_the_others_along():
    """An item that hurries starts the flush of all that waits; nobody else does."""
    sink = Sink()
    batcher = MicroBatcher(sink.flush, name="t", max_delay=3600, hurries=lambda item: item == 7)
    calm = asyncio.create_task(batcher.submit(1))
    await settle()
    assert sink.batches == []
    assert await asyncio.wait_for(batcher.submit(7), 5) == 70
    assert await calm == 10
    assert sink.batches == [[1, 7]]


async def test_who_hurries_does_not_rest():
    """A paced writer starts at once again for an item that hurries, also when it came during a flush."""
    sink = Sink()
    batcher = MicroBatcher(sink.flush, name="t", max_delay=3600, pace=3600, hurries=lambda item: item > 6)
    sink.open.clear()
    first = asyncio.create_task(batcher.submit(7))
    await settle()
    second = asyncio.create_task(batcher.submit(8))
    await settle()
    sink.open.set()
    assert await asyncio.wait_for(first, 5) == 70
    assert await asyncio.wait_for(second, 5) == 80
    assert sink.batches == [[7], [8]]


async def test_a_close_does_not_rest():
    """What waits for the next turn of a paced writer is written when it closes."""
    sink, starts = Sink(), list[float]()
    batcher = MicroBatcher(slow(sink, starts), name="t", max_delay=0, pace=3600)
    await batcher.submit(1)
    last = asyncio.create_task(batcher.submit(2))
    await settle()
    await batcher.close()
    assert await last == 20
    assert starts[1] - starts[0] < 1.0
