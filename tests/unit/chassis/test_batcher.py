"""Batches: who waits gets its own answer, whatever happens to the others."""

import asyncio
from contextvars import ContextVar

import pytest

from services.chassis.batcher import FlushFailed, MicroBatcher
from services.chassis.errors import NotFound, ResourceExhausted, Unavailable
from tests.unit.chassis.sink import Sink, settle

who: ContextVar[str] = ContextVar("who", default="nobody")


async def all_of(batcher: MicroBatcher[int, int], items: range) -> list[int]:
    """Every item submitted at once."""
    return await asyncio.gather(*(batcher.submit(item) for item in items))


async def test_each_caller_gets_its_own_result():
    """Results go to the callers of their items, in order, in batches of at most max_rows."""
    sink = Sink()
    batcher = MicroBatcher(sink.flush, name="t", max_rows=3)
    assert await all_of(batcher, range(8)) == [n * 10 for n in range(8)]
    assert sink.batches == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert batcher.waiting == 0


async def test_a_lonely_item_waits_no_longer_than_the_delay():
    """One item alone is flushed after max_delay, not before."""
    sink = Sink()
    batcher = MicroBatcher(sink.flush, name="t", max_delay=0.02)
    task = asyncio.create_task(batcher.submit(1))
    await settle()
    assert sink.batches == []
    assert await asyncio.wait_for(task, 5) == 10


async def test_a_full_batch_does_not_wait():
    """max_rows items start a flush at once, however long the delay."""
    sink = Sink()
    batcher = MicroBatcher(sink.flush, name="t", max_rows=2, max_delay=3600)
    assert await asyncio.wait_for(all_of(batcher, range(2)), 5) == [0, 10]


async def test_what_came_during_a_flush_goes_with_the_next_at_once():
    """One flush at a time; when it ends, all that waits goes, however long the delay."""
    sink = Sink()
    sink.open.clear()
    batcher = MicroBatcher(sink.flush, name="t", max_rows=2, max_delay=3600)
    first = asyncio.create_task(all_of(batcher, range(2)))
    await settle()
    second = asyncio.create_task(batcher.submit(7))
    await settle()
    assert sink.batches == [[0, 1]]
    sink.open.set()
    assert await asyncio.wait_for(second, 5) == 70
    assert await first == [0, 10]
    assert sink.most_running == 1


async def test_concurrency_bounds_the_flushes():
    """Two flushes run side by side when two are allowed, never three."""
    sink = Sink()
    sink.open.clear()
    batcher = MicroBatcher(sink.flush, name="t", max_rows=1, concurrency=2)
    task = asyncio.create_task(all_of(batcher, range(5)))
    await settle()
    assert sink.running == 2
    sink.open.set()
    assert await task == [0, 10, 20, 30, 40]
    assert sink.most_running == 2


async def test_a_failed_flush_reaches_every_caller_of_that_batch_only():
    """Each caller of the batch gets its own FlushFailed with the one cause; the next batch is not touched."""
    sink = Sink()
    cause = RuntimeError("disk full")

    def answer(items: list[int]) -> list[int]:
        if 0 in items:
            raise cause
        return items

    sink.answer = answer
    batcher = MicroBatcher(sink.flush, name="intake", max_rows=2)
    results = await asyncio.gather(*(batcher.submit(n) for n in range(4)), return_exceptions=True)
    assert [type(each) for each in results[:2]] == [FlushFailed, FlushFailed]
    assert results[0] is not results[1]
    assert all(isinstance(each, FlushFailed) and each.__cause__ is cause for each in results[:2])
    assert results[2:] == [2, 3]


async def test_a_service_error_reaches_callers_as_itself():
    """A ServiceError raised by the flush keeps its class, reason and delay for every caller."""

    async def flush(items: list[int]) -> list[int]:
        raise NotFound("gone", reason="MESSAGE_NOT_FOUND", retry_after=3)

    batcher = MicroBatcher(flush, name="t", max_rows=2)
    results = await asyncio.gather(batcher.submit(1), batcher.submit(2), return_exceptions=True)
    assert results[0] is not results[1]
    for each in results:
        assert isinstance(each, NotFound)
        assert (each.reason, each.retry_after) == ("MESSAGE_NOT_FOUND", 3)


@pytest.mark.parametrize("wrong", [[], [1], [1, 2, 3]])
async def test_a_wrong_number_of_results_is_a_failure(wrong: list[int]):
    """Results that do not pair with the items are given to nobody."""

    async def flush(items: list[int]) -> list[int]:
        return wrong

    batcher = MicroBatcher(flush, name="t", max_rows=2)
    results = await asyncio.gather(batcher.submit(1), batcher.submit(2), return_exceptions=True)
    assert [type(each) for each in results] == [FlushFailed, FlushFailed]


async def test_a_caller_cancelled_in_flight_disturbs_nobody():
    """Cancelling one caller during its flush neither cancels the flush nor another caller."""
    sink = Sink()
    sink.open.clear()
    batcher = MicroBatcher(sink.flush, name="t", max_rows=2)
    first, second = asyncio.create_task(batcher.submit(1)), asyncio.create_task(batcher.submit(2))
    await settle()
    first.cancel()
    await settle()
    assert first.cancelled()
    sink.open.set()
    assert await second == 20
    assert sink.batches == [[1, 2]]


async def test_a_caller_cancelled_in_the_queue_takes_its_item_back():
    """An item whose caller is gone before the flush starts is not written."""
    sink = Sink()
    sink.open.clear()
    batcher = MicroBatcher(sink.flush, name="t", max_rows=1)
    busy = asyncio.create_task(batcher.submit(1))
    await settle()
    gone, stays = asyncio.create_task(batcher.submit(2)), asyncio.create_task(batcher.submit(3))
    await settle()
    gone.cancel()
    await settle()
    sink.open.set()
    assert [await busy, await stays] == [10, 30]
    assert sink.batches == [[1], [3]]
    assert batcher.waiting == 0


async def test_all_cancelled_means_no_flush():
    """When every caller of a batch is gone, flush is not called, and the batcher goes on."""
    sink = Sink()
    batcher = MicroBatcher(sink.flush, name="t", max_delay=0.01)
    gone = asyncio.create_task(batcher.submit(1))
    await settle()
    gone.cancel()
    await asyncio.sleep(0.03)
    assert sink.batches == []
    assert await batcher.submit(2) == 20


async def test_too_many_waiting_is_refused():
    """Beyond max_waiting callers, queued and in flight, the next is refused with OVERLOADED and about 1 s."""
    sink = Sink()
    sink.open.clear()
    batcher = MicroBatcher(sink.flush, name="t", max_rows=2, max_waiting=3)
    waiting = [asyncio.create_task(batcher.submit(n)) for n in range(3)]
    await settle()
    with pytest.raises(ResourceExhausted) as caught:
        await batcher.submit(99)
    assert caught.value.reason == "OVERLOADED"
    assert 0.5 <= (caught.value.retry_after or 0) <= 1.5
    sink.open.set()
    assert await asyncio.gather(*waiting) == [0, 10, 20]
    assert await batcher.submit(4) == 40


async def test_too_heavy_a_wait_is_refused():
    """What has no answer yet is bounded in weight, in flight included; alone, an item of any weight goes."""
    sink = Sink()
    sink.open.clear()
    batcher = MicroBatcher(sink.flush, name="t", max_rows=1, weigh=lambda item: item, max_held=10)
    waiting = [asyncio.create_task(batcher.submit(n)) for n in (6, 4)]
    await settle()
    with pytest.raises(ResourceExhausted):
        await batcher.submit(1)
    sink.open.set()
    assert await asyncio.gather(*waiting) == [60, 40]
    assert await batcher.submit(25) == 250


async def test_behind_an_old_wait_nobody_queues():
    """When the oldest caller has waited too long, the next is refused; answered, it counts no more."""
    sink = Sink()
    sink.open.clear()
    batcher = MicroBatcher(sink.flush, name="t", max_rows=1, max_age=0.05)
    first = asyncio.create_task(batcher.submit(1))
    await settle()
    second = asyncio.create_task(batcher.submit(2))
    await asyncio.sleep(0.1)
    with pytest.raises(ResourceExhausted):
        await batcher.submit(3)
    sink.open.set()
    assert (await first, await second) == (10, 20)
    assert await batcher.submit(4) == 40


async def test_who_waits_long_in_its_own_lane_sheds_no_other():
    """A lane that is filled faster than it is written refuses its own callers; another lane has its turn."""
    flushes = asyncio.Semaphore(0)

    async def flush(items: list[int]) -> list[int]:
        await flushes.acquire()
        return items

    batcher = MicroBatcher(flush, name="t", max_rows=1, max_age=0.15, lane=lambda item: str(item // 10))
    waiting = [asyncio.create_task(batcher.submit(item)) for item in (10, 11, 12)]
    await asyncio.sleep(0.1)
    flushes.release()
    await waiting[0]
    await asyncio.sleep(0.1)
    with pytest.raises(ResourceExhausted):
        await batcher.submit(13)
    other = asyncio.create_task(batcher.submit(20))
    await settle()
    assert not other.done()
    for _ in range(3):
        flushes.release()

    assert await asyncio.gather(*waiting, other) == [10, 11, 12, 20]


async def test_cancelled_callers_free_their_place():
    """Callers who left do not count against max_waiting."""
    sink = Sink()
    sink.open.clear()
    batcher = MicroBatcher(sink.flush, name="t", max_rows=1, max_waiting=1)
    gone = asyncio.create_task(batcher.submit(1))
    await settle()
    gone.cancel()
    await settle()
    stays = asyncio.create_task(batcher.submit(2))
    await settle()
    sink.open.set()
    assert await stays == 20


async def test_weight_bounds_a_batch():
    """No batch is heavier than max_weight, except one item that alone is; reaching it starts a flush at once."""
    sink = Sink()
    batcher = MicroBatcher(sink.flush, name="t", max_delay=3600, weigh=lambda item: item, max_weight=10)
    await asyncio.wait_for(asyncio.gather(*(batcher.submit(n) for n in (4, 6, 5, 25, 1, 9))), 5)
    assert sink.batches == [[4, 6], [5], [25], [1, 9]]


async def test_close_flushes_what_waits_then_refuses():
    """close() returns when every waiting item has been answered; afterwards nothing is taken."""
    sink = Sink()
    batcher = MicroBatcher(sink.flush, name="t", max_rows=2, max_delay=3600)
    waiting = [asyncio.create_task(batcher.submit(n)) for n in range(5)]
    await settle()
    await asyncio.wait_for(batcher.close(), 5)
    assert await asyncio.gather(*waiting) == [0, 10, 20, 30, 40]
    with pytest.raises(Unavailable):
        await batcher.submit(1)
    await batcher.close()


async def test_close_refuses_from_its_first_moment():
    """While close() waits for a flush in flight, submit refuses already, and two closers both return."""
    sink = Sink()
    sink.open.clear()
    batcher = MicroBatcher(sink.flush, name="t", max_rows=1)
    waiting = asyncio.create_task(batcher.submit(1))
    await settle()
    closers = [asyncio.create_task(batcher.close()) for _ in range(2)]
    await settle()
    with pytest.raises(Unavailable):
        await batcher.submit(2)
    assert not any(closer.done() for closer in closers)
    sink.open.set()
    await asyncio.wait_for(asyncio.gather(*closers), 5)
    assert await waiting == 10


async def test_close_survives_a_failing_flush():
    """A flush that fails during close() answers its callers and close() returns."""
    sink = Sink()

    def answer(items: list[int]) -> list[int]:
        raise OSError("gone")

    sink.answer = answer
    batcher = MicroBatcher(sink.flush, name="t", max_delay=3600)
    waiting = asyncio.create_task(batcher.submit(1))
    await settle()
    await asyncio.wait_for(batcher.close(), 5)
    with pytest.raises(FlushFailed):
        await waiting


async def test_a_flush_runs_as_nobody():
    """The flush sees the context of who built the batcher, never of the caller who came first."""
    seen = []

    async def flush(items: list[int]) -> list[int]:
        seen.append(who.get())
        return items

    batcher = MicroBatcher(flush, name="t", max_rows=1)
    slow = MicroBatcher(flush, name="t", max_delay=0.001)
    who.set("a caller")
    await asyncio.gather(batcher.submit(1), slow.submit(1))
    assert seen == ["nobody", "nobody"]


async def test_many_callers_with_a_third_cancelled():
    """Of 3,000 callers a third leave at random moments; all the others get exactly their own result, once each."""
    written: list[int] = []

    async def flush(items: list[int]) -> list[int]:
        await asyncio.sleep(0)
        written.extend(items)
        return [item * 10 for item in items]

    batcher = MicroBatcher(flush, name="t", max_rows=50, concurrency=3)
    tasks = [asyncio.create_task(batcher.submit(n)) for n in range(3000)]
    for n in range(0, 3000, 3):
        if n % 30 == 0:
            await asyncio.sleep(0)
        tasks[n].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for n, result in enumerate(results):
        assert result == n * 10 or (n % 3 == 0 and isinstance(result, asyncio.CancelledError))
    assert len(written) == len(set(written))
    assert {n for n in range(3000) if n % 3} <= set(written)
    await batcher.close()
