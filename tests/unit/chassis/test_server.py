"""Stopping on a signal, and saying why an address cannot be had; the server itself is tested with real sockets."""

import asyncio
import os
import signal

import pytest

from services.chassis.server import run_until_signal


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_sets_stop(number):
    """SIGTERM and SIGINT set the event and end the wait; afterwards signals act as before."""
    before = signal.getsignal(number)
    stop = asyncio.Event()
    waiting = asyncio.create_task(run_until_signal(stop))
    await asyncio.sleep(0)
    os.kill(os.getpid(), number)
    await asyncio.wait_for(waiting, 5)
    assert stop.is_set()
    assert signal.getsignal(number) == before


async def test_whoever_sets_stop_ends_the_wait():
    """The wait ends also when something else sets the event."""
    stop = asyncio.Event()
    waiting = asyncio.create_task(run_until_signal(stop))
    stop.set()
    await asyncio.wait_for(waiting, 5)
