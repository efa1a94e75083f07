"""The database's time as this process tells it."""

from services.dispatch.database_clock import DatabaseClock
from tests.builders import NOON, seconds
from tests.fakes.clock import FakeClock


def test_it_goes_on_from_the_last_reading() -> None:
    """Between readings it counts seconds since boot, whatever the wall clock of this machine says."""
    clock = FakeClock()
    database = DatabaseClock(clock)
    clock.advance(1000)
    database.learn(NOON)
    clock.advance(1.5)

    assert database.now() == NOON + seconds(1.5)


def test_a_new_reading_counts() -> None:
    """The last reading wins, also when the database's clock was set back."""
    clock = FakeClock()
    database = DatabaseClock(clock)
    database.learn(NOON)
    clock.advance(60)
    database.learn(NOON - seconds(5))

    assert database.now() == NOON - seconds(5)
