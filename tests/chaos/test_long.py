"""Every chaos scenario at its real length: `make chaos`. CHAOS_SCALE=0.1 makes all of them shorter, CHAOS_SEED repeats
a run.
"""

import os
import time
from pathlib import Path

import pytest

from tests.chaos.catalogue import SCENARIOS
from tests.chaos.scenarios import Options

SCALE = float(os.environ.get("CHAOS_SCALE", "1"))
SEED = int(os.environ.get("CHAOS_SEED") or time.time() % 100_000)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", SCENARIOS)
async def test_scenario(name: str, tmp_path: Path) -> None:
    """The scenario ends with every promise kept, and with as many faults as it was to meet."""
    scenario = SCENARIOS[name]
    options = Options(folder=tmp_path / name, seconds=scenario.seconds * SCALE, seed=SEED, rate=scenario.rate)

    report = await scenario.run(options)

    print(report.table())  # noqa: T201 - the table is what one runs this for
    if "skipped" in report.measured:
        pytest.skip(str(report.measured["skipped"]))
    assert report.failures == []
