"""The database's clock as seen from this process: no decision compares the clocks of two machines."""

from datetime import UTC, datetime, timedelta

from services.chassis.clock import Clock

_START = datetime.fromtimestamp(0, UTC)


class DatabaseClock:
    """Tells the database's time between two readings of it by counting seconds since boot; late by at most a
    round trip.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = _START

    def learn(self, at: datetime) -> None:
        """Take a time that the database just answered as now."""
        self._offset = at - timedelta(seconds=self._clock.boottime())

    def now(self) -> datetime:
        """The database's time; only after the first `learn`."""
        return self._offset + timedelta(seconds=self._clock.boottime())
