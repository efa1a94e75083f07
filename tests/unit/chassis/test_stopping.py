"""Stopping: at the first signal in order, at the second at once, and after a while in any case."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from services.chassis.stopping import OVERDUE, hard_stop, run_until_signal


@pytest.fixture(autouse=True)
def kept_signals() -> Iterator[None]:
    """The test run itself may still be interrupted afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_sets_stop(number):
    """SIGTERM and SIGINT set the event and end the wait; the next signal ends the process at once."""
    stop = asyncio.Event()
    waiting = asyncio.create_task(run_until_signal(stop))
    await asyncio.sleep(0)
    os.kill(os.getpid(), number)
    await asyncio.wait_for(waiting, 5)
    assert stop.is_set()
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == [signal.SIG_DFL] * 2


async def test_whoever_sets_stop_ends_the_wait():
    """The wait ends also when something else sets the event; signals then act as before."""
    before = signal.getsignal(signal.SIGTERM)
    stop = asyncio.Event()
    waiting = asyncio.create_task(run_until_signal(stop))
    stop.set()
    await asyncio.wait_for(waiting, 5)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_stop_that_hangs_is_ended(capsys: pytest.CaptureFixture[str]) -> None:
    """A stop that takes longer than it may ends the process, with a code and a line of its own."""
    ended, codes = threading.Event(), []

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    with hard_stop(end) as limit:
        limit.arm(0.01)
        assert ended.wait(5)

    assert codes == [OVERDUE]
    assert "the stop took longer than 0.01 s" in capsys.readouterr().err


def test_a_stop_in_time_is_left_alone() -> None:
    """A stop that ends in time is not ended by force later; arming again counts from then."""
    ended = threading.Event()
    with hard_stop(lambda code: ended.set()) as limit:
        limit.arm(0.05)
        limit.arm(60)
        assert not ended.wait(0.2)
    with hard_stop(lambda code: ended.set()) as limit:
        limit.arm(0.05)

    assert not ended.wait(0.2)
