"""How long a call may last: its own limit, and never beyond the lease it is made under."""

import asyncio

import pytest

from services.dispatch.lease_bound import LeaseEnding, within_lease


async def test_a_call_within_its_lease_is_left_alone() -> None:
    """A block that ends in time is not touched, nor anything after it."""
    async with within_lease(10, lambda: 0.02):
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)


async def test_a_call_is_cut_at_its_own_limit() -> None:
    """The limit of the call itself is a plain TimeoutError, however long the lease."""
    with pytest.raises(TimeoutError) as cut:
        async with within_lease(0.01, lambda: 30.0):
            await asyncio.Event().wait()

    assert not isinstance(cut.value, LeaseEnding)


async def test_a_call_is_cut_when_no_time_is_left_under_its_lease() -> None:
    """I4: when the lease is not renewed the call is cut as soon as nothing of it is left."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + 0.05
    with pytest.raises(LeaseEnding):
        async with within_lease(30, lambda: ends - loop.time()):
            await asyncio.Event().wait()

    assert 0.05 <= loop.time() - (ends - 0.05) < 1.0


async def test_a_renewed_lease_gives_a_call_more_time() -> None:
    """Each renewal moves the end: a call may outlast many leases, up to its own limit."""
    loop = asyncio.get_running_loop()
    ends = [loop.time() + 0.02]

    async def renew() -> None:
        for _ in range(5):
            await asyncio.sleep(0.01)
            ends[0] = loop.time() + 0.02

    renewing = asyncio.create_task(renew())
    begun = loop.time()
    with pytest.raises(LeaseEnding):
        async with within_lease(30, lambda: ends[0] - loop.time()):
            await asyncio.Event().wait()
    await renewing

    assert loop.time() - begun > 0.05


async def test_a_lease_that_is_over_lets_nothing_begin() -> None:
    """A block that begins without any time left is cut at its first wait."""
    with pytest.raises(LeaseEnding):
        async with within_lease(30, lambda: 0.0):
            await asyncio.sleep(5)


async def test_a_timeout_of_the_block_is_its_own() -> None:
    """A TimeoutError that the block raises before it is cut is told as what it is."""
    with pytest.raises(TimeoutError) as raised:
        async with within_lease(30, lambda: 30.0):
            raise TimeoutError("mine")

    assert str(raised.value) == "mine"
    assert not isinstance(raised.value, LeaseEnding)


async def test_a_cancelled_block_stays_cancelled() -> None:
    """A stop of the process is no end of a lease."""
    inside = asyncio.Event()

    async def call() -> None:
        async with within_lease(30, lambda: 30.0):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(call())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
