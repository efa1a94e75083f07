"""The system's clock is aware, forward-only where it says so, and never wakes early."""

from datetime import UTC, timedelta

from services.chassis.clock import Clock, SystemClock
from tests.fakes.clock import FakeClock


def test_now_is_utc():
    """The wall clock is aware and in UTC."""
    assert SystemClock().now().tzinfo is UTC


async def test_boottime_counts_forward_and_sleep_is_not_early():
    """Boot time never goes back, and a sleep takes at least as long as asked."""
    clock: Clock = SystemClock()
    before = clock.boottime()
    await clock.sleep(0.01)
    assert clock.boottime() - before >= 0.0095


def test_the_fake_moves_only_when_told():
    """The fake clock stands still until it is advanced, and moves both its clocks together."""
    clock: Clock = (fake := FakeClock())
    start, boot = clock.now(), clock.boottime()
    assert clock.now() == start
    fake.advance(5)
    assert (clock.now() - start, clock.boottime() - boot) == (timedelta(seconds=5), 5.0)
