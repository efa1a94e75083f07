"""Who is let in, in numbers; with real sockets: tests/integration/chassis/test_admission.py."""

import asyncio

import pytest

from services.chassis.admission import Admission, Limits, Waits, check_deadline, overloaded
from services.chassis.errors import DeadlineExceeded, ResourceExhausted, Unavailable
from tests.fakes.clock import FakeClock


def test_calls_and_streams_have_bounds_of_their_own():
    """One more than allowed is refused with OVERLOADED and a time to come back; a place given back can be taken."""
    door = Admission(Limits(calls=1, streams=1))
    with door.one(stream=False), door.one(stream=True):
        for stream in (False, True):
            with pytest.raises(ResourceExhausted) as caught, door.one(stream=stream):
                pytest.fail("let in")
            assert caught.value.reason == "OVERLOADED"
            assert caught.value.retry_after is not None
        assert door.under_way == 2
    with door.one(stream=False), door.one(stream=True):
        pass
    assert door.under_way == 0


def test_what_is_behind_the_door_may_be_strained():
    """While something behind it is waited for too long, nobody is let in."""
    strained = [True]
    door = Admission(strained=lambda: strained[0])
    with pytest.raises(ResourceExhausted), door.one(stream=False):
        pytest.fail("let in")
    strained[0] = False
    with door.one(stream=False):
        pass


def test_those_refused_together_do_not_come_back_together():
    """The delay is between half and one and a half times what was asked for."""
    fractions = iter((0.0, 0.5, 1.0))
    delays = [overloaded("x", after=2.0, fraction=lambda: next(fractions)).retry_after for _ in range(3)]
    assert delays == [1, 2, 3]


@pytest.mark.parametrize("remaining", [0.019, 0.0])
def test_a_deadline_that_can_not_be_met(remaining):
    """Below 20 ms nothing is begun."""
    with pytest.raises(DeadlineExceeded) as caught:
        check_deadline(remaining)
    assert caught.value.reason == "DEADLINE_TOO_SHORT"


@pytest.mark.parametrize("remaining", [None, 1.0, 0.02])
def test_a_deadline_that_can_be_met(remaining):
    """No deadline is no reason to refuse either."""
    check_deadline(remaining)


async def test_idle_is_when_nothing_is_under_way():
    """Whoever drains waits for the last one."""
    door = Admission()
    with door.one(stream=True):
        waiting = asyncio.create_task(door.idle())
        await asyncio.wait_for(door.no_calls(), 1)  # a stream is no call
        with door.one(stream=False):
            calls = asyncio.create_task(door.no_calls())
            await asyncio.sleep(0)
            assert not calls.done()
        assert not waiting.done()
    await asyncio.wait_for(asyncio.gather(waiting, calls), 1)


async def test_a_door_that_closes_turns_away_who_still_comes() -> None:
    """Callers may leave by themselves first; who comes later is told UNAVAILABLE; who is inside may stay."""
    door = Admission()
    with door.one(stream=False):
        closing = asyncio.create_task(door.close())
        await asyncio.sleep(0.01)
        with door.one(stream=False):
            pass  # not closed yet: somebody who has not heard it
        await asyncio.wait_for(closing, 2)
        with pytest.raises(Unavailable), door.one(stream=False):
            pytest.fail("let in")
        assert door.under_way == 1


async def test_a_door_closes_though_somebody_always_comes() -> None:
    """Callers who do not watch our health keep it open for two seconds, and no longer."""
    door = Admission()
    closing = asyncio.create_task(door.close())
    refused = 0
    while not closing.done():
        try:
            with door.one(stream=False):
                assert not refused
        except Unavailable:
            refused += 1
        await asyncio.sleep(0.01)

    assert refused


async def test_few_requests_are_read_at_a_time():
    """One more waits for its turn; a request that does not arrive is given up, and its turn goes to the next."""
    door = Admission(Limits(reading=1, read_seconds=0.05))
    arrived = asyncio.Event()

    async def slow() -> bytes:
        await asyncio.Event().wait()
        return b"never"

    async def quick() -> bytes:
        arrived.set()
        return b"here"

    first = asyncio.create_task(door.read(slow))
    await asyncio.sleep(0)
    second = asyncio.create_task(door.read(quick))
    await asyncio.sleep(0.01)
    assert not arrived.is_set()
    with pytest.raises(DeadlineExceeded):
        await first
    assert await second == b"here"


def test_the_longest_wait():
    """It is the age of the first who still waits."""
    clock = FakeClock()
    waits = Waits(clock)
    assert waits.longest == 0
    with waits.one():
        clock.advance(2)
        with waits.one():
            clock.advance(1)
            assert waits.longest == 3
    assert waits.longest == 0
    with waits.one() as served:
        clock.advance(1)
        served()
        assert waits.longest == 0
