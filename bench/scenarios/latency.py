"""How long CreateMessage takes at half of what the dispatcher can do: an open loop, counted from the scheduled time."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from bench.rig import Loop, Rig, Run
from bench.scenario import Row, Scenario
from bench.scenarios.stage import staged


@asynccontextmanager
async def _loops(rig: Rig) -> AsyncIterator[Mapping[str, Loop]]:
    async with staged(rig, "sendgrid") as stage:
        full = 0.0
        saturated = stage.service()

        async def whole() -> Run:
            nonlocal full
            found = await saturated()
            full = found["rate"]
            return found

        async def half() -> Run:
            found = await rig.paced(stage.dispatch, stage.project, rate=full / 2)
            await rig.postgres.drained(60)
            return found

        yield {"full": whole, "half": half}


SCENARIO = Scenario(
    name="latency",
    title="CreateMessage at half load, open loop",
    loops=_loops,
    rows=(
        Row(what="p50 ms", figure="half.p50_ms"),
        Row(what="p99 ms", figure="half.p99_ms", at_most=25),
        Row(what="offered/s", figure="half.rate", beside="full.rate", ours=False),
    ),
)
