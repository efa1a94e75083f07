"""Every scenario by name, with the length and the rate that prove something."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.chaos import at_points, controls, keys, outages, scenarios
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
        Scenario(name="failpoints", run=at_points.failpoints, seconds=600, rate=at_points.RATE),
        Scenario(name="lease_pauses", run=at_points.lease_pauses, seconds=540, rate=at_points.RATE),
        Scenario(name="pauses", run=scenarios.pauses, seconds=120, rate=100),
        Scenario(name="lines", run=scenarios.lines, seconds=120, rate=100),
        Scenario(name="postgres", run=scenarios.postgres, seconds=120, rate=200),
        Scenario(name="vanishing_answers", run=outages.vanishing_answers, seconds=60, rate=50),
        Scenario(name="keys", run=keys.keys, seconds=50, rate=10),
        Scenario(name="both_down", run=outages.both_down, seconds=240, rate=20),
        Scenario(name="watchers", run=outages.watchers, seconds=60, rate=30),
        Scenario(name="full_disk", run=outages.full_disk, seconds=60, rate=100),
        Scenario(name="control_fence", run=controls.fence, seconds=30, rate=at_points.RATE),
        Scenario(name="control_lease_check", run=controls.lease_check, seconds=30, rate=at_points.RATE),
        Scenario(name="control_synchronous_commit", run=controls.synchronous_commit, seconds=10, rate=100),
        Scenario(name="everything", run=scenarios.everything, seconds=180, rate=150),
    )
}
