"""How a process ends: at the first signal in order, at the second at once, and after a while in any case."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# What a stop may take beyond the grace for what is under way: outcomes are written, leases given back.
MARGIN_SECONDS = 5.0
OVERDUE = 70  # the exit code of a stop that did not end by itself

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


async def run_until_signal(stop: asyncio.Event) -> None:
    """Sets `stop` at the first SIGTERM or SIGINT; returns once it is set, by anyone. After a signal the next one ends
    the process at once.
    """
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in _STOP_SIGNALS}
    signalled = False

    def on_signal() -> None:
        nonlocal signalled
        signalled = True
        stop.set()

    for number in before:
        loop.add_signal_handler(number, on_signal)
    try:
        await stop.wait()
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            # asyncio's own handler would begin an orderly end a second time.
            signal.signal(number, signal.SIG_DFL if signalled else handler)


class HardStop:
    """Ends the process if its stop takes too long, whatever hangs: a provider, the database, a thread."""

    def __init__(self, end: Callable[[int], object]) -> None:
        self._end = end
        self._timer: threading.Timer | None = None

    def arm(self, seconds: float) -> None:
        """From now on the process has so many seconds."""
        self.disarm()
        self._timer = threading.Timer(seconds, self._overdue, (seconds,))
        self._timer.daemon = True
        self._timer.start()

    def disarm(self) -> None:
        """It stopped in time."""
        if self._timer is not None:
            self._timer.cancel()

    def _overdue(self, seconds: float) -> None:
        sys.stderr.write(f"messagepipe: the stop took longer than {seconds:g} s; ended without it\n")
        sys.stderr.flush()
        self._end(OVERDUE)


@contextmanager
def hard_stop(end: Callable[[int], object] = os._exit) -> Iterator[HardStop]:
    """A hard stop to be armed within the block, and disarmed at its end."""
    stop = HardStop(end)
    try:
        yield stop
    finally:
        stop.disarm()
