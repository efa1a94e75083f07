"""Every scenario by name, with the length and the rate that prove something."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.chaos import scenarios
from tests.chaos.scenarios import Options, Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One run: how long its load lasts by default, and how many messages a second."""

    name: str
    run: Callable[[Options], Awaitable[Report]]
    seconds: float
    rate: float = 300.0

    @property
    def summary(self) -> str:
        """What it does, in one line."""
        return (self.run.__doc__ or "").strip().splitlines()[0]


SCENARIOS = {
    each.name: each
    for each in (
        Scenario(name="kills", run=scenarios.kills, seconds=300),
        Scenario(name="pauses", run=scenarios.pauses, seconds=120, rate=100),
        Scenario(name="lines", run=scenarios.lines, seconds=120, rate=100),
        Scenario(name="postgres", run=scenarios.postgres, seconds=120, rate=200),
        Scenario(name="everything", run=scenarios.everything, seconds=180, rate=150),
    )
}
