"""Batches: what one caller hands over many of at once is answered as if by many callers."""

import asyncio

from services.chassis.batcher import MicroBatcher
from services.chassis.errors import NotFound, ResourceExhausted
from tests.unit.chassis.sink import Sink, settle


async def test_each_of_many_gets_its_own_answer():
    """Items that one caller submits at once go in the same few flushes as items of many callers, and are answered in
    order.
    """
    sink = Sink()
    batcher = MicroBatcher(sink.flush, name="t", max_rows=3)

    assert await batcher.submit_each(range(8)) == [n * 10 for n in range(8)]
    assert sink.batches == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert batcher.waiting == 0


async def test_each_of_many_is_refused_alone():
    """What is one item too many is an answer of its own; the flush that fails answers its own items only."""
    sink = Sink()

    def answer(items: list[int]) -> list[int]:
        if 2 in items:
            raise NotFound("no such thing")
        return items

    sink.answer = answer
    batcher = MicroBatcher(sink.flush, name="t", max_rows=2, max_waiting=5)

    answers = await batcher.submit_each(range(6))

    assert answers[:2] == [0, 1]
    assert [type(each) for each in answers[2:]] == [NotFound, NotFound, int, ResourceExhausted]
    assert answers[2] is not answers[3]
    assert await batcher.submit(7) == 7


async def test_a_caller_of_many_who_is_cancelled_takes_back_what_is_queued():
    """What is in flight is flushed, what is queued is not, and no place stays taken."""
    sink = Sink()
    sink.open.clear()
    batcher = MicroBatcher(sink.flush, name="t", max_rows=2, weigh=lambda _: 1, max_held=5)
    many = asyncio.create_task(batcher.submit_each(range(5)))
    await settle()
    many.cancel()
    await settle()
    left = batcher.waiting
    sink.open.set()
    again = await batcher.submit_each(range(5, 10))

    assert many.cancelled()
    assert left == batcher.waiting == 0
    assert again == [n * 10 for n in range(5, 10)]
    assert sink.batches == [[0, 1], [5, 6], [7, 8], [9]]
