"""The rig itself, at its smallest: every kind of scenario runs against real processes and reads what it promises."""

import math
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bench.__main__ import measured
from bench.rig import Rig, Scale, open_rig
from bench.scenarios import SCENARIOS

SMALL = Scale(seconds=0.3, backlog=60, stored=(20, 40, 60), queued=60, warm=0.1)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
# One of each kind: three limits and a closed loop, an open loop with the providers' times, mail, the log, copies
# of messages.
KINDS = ("unary", "failover-time", "smtp", "statements", "backlog", "stored")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig() -> AsyncIterator[Rig]:
    """Everything that scenarios stand on, once."""
    async with open_rig(SMALL) as made:
        yield made


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.asyncio(loop_scope="module")
async def test_a_scenario_measures_what_it_says(rig: Rig, name: str) -> None:
    """Every row has a figure above zero, and no message that was handed over is missing at the provider."""
    result = await measured(rig, BY_NAME[name], 1)

    for reading in result.readings:
        assert 0 < reading.figure.median < math.inf, reading.row
        assert reading.ratio is None or 0 < reading.ratio.median < math.inf, reading.row
    assert {figure.median for key, figure in result.figures.items() if key.endswith(".lost")} <= {0.0}
