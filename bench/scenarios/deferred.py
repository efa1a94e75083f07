"""Provider A answers 429 to three of ten requests, B accepts."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from bench.rig import Loop, Rig
from bench.scenario import Row, Scenario
from bench.scenarios.stage import cpu, relay, relayed, staged


@asynccontextmanager
async def _loops(rig: Rig) -> AsyncIterator[Mapping[str, Loop]]:
    target, _ = await relay(rig)
    async with staged(rig, "sendgrid", "sendgrid") as stage:
        await stage.behave(0, shares={"202": 0.7, "429": 0.3})
        yield {"a": relayed(rig, target), "service": stage.service()}


SCENARIO = Scenario(
    name="deferred",
    title="A answers 429 to 30 %, B accepts",
    loops=_loops,
    rows=(Row(what="messages/s", figure="service.rate", beside="a.rate"), cpu("a")),
)
