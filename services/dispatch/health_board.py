"""What this process knows about providers' health: its own lessons at once, the others' from the database. Rules:
health.py.
"""

from typing import Protocol

from services.chassis.clock import Clock
from services.chassis.log import get_logger
from services.dispatch.errors import DatabaseUnavailable
from services.dispatch.health import Mark, Marks

REFRESH = 0.5


class MarkReader(Protocol):
    """Where every worker's marks are read."""

    async def marks(self) -> dict[str, list[Mark]]:
        """Every mark whose time is not over, by provider id."""


class HealthBoard:
    """Marks by provider id, at most about half a second behind what other processes have written."""

    def __init__(self, reader: MarkReader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._marks: dict[str, list[Mark]] = {}
        self._fresh: list[Mark] = []
        self._log = get_logger()

    def marks(self) -> Marks:
        """Every known mark by provider id."""
        return self._marks

    def learned(self, mark: Mark) -> None:
        """The mark holds in this process from now on."""
        self._fresh.append(mark)
        self._put(mark)

    async def refresh(self) -> None:
        """Take over what is in the database; lessons of the last moments, which may not be written yet, are kept
        on top.
        """
        before, self._fresh = self._fresh, []
        try:
            self._marks = await self._reader.marks()
        except BaseException:
            self._fresh = [*before, *self._fresh]
            raise
        for mark in (*before, *self._fresh):
            self._put(mark)

    async def run(self) -> None:
        """Refresh until cancelled; while the database does not answer, what is known stays known."""
        while True:
            await self._clock.sleep(REFRESH)
            try:
                await self.refresh()
            except DatabaseUnavailable as error:
                self._log.warning("health_not_refreshed", cause=type(error.__cause__).__name__)

    def _put(self, mark: Mark) -> None:
        others = [known for known in self._marks.get(mark.provider_id, ()) if known.scope != mark.scope]
        self._marks[mark.provider_id] = [*others, mark]
