"""As unary.py, by a dispatcher that writes seldom: what throughput that brings where its core is the limit."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from bench.rig import Loop, Rig
from bench.scenario import Row, Scenario
from bench.scenarios.stage import cpu, relay, relayed, staged

PACE_MS = "50"


@asynccontextmanager
async def _loops(rig: Rig) -> AsyncIterator[Mapping[str, Loop]]:
    target, _ = await relay(rig)
    async with staged(rig, "sendgrid", BATCH_PACE_MS=PACE_MS) as stage:
        yield {"a": relayed(rig, target), "service": stage.service()}


SCENARIO = Scenario(
    name="paced",
    title=f"as unary, with MESSAGEPIPE_BATCH_PACE_MS={PACE_MS}",
    loops=_loops,
    rows=(
        Row(what="messages/s", figure="service.rate", beside="a.rate"),
        cpu("a"),
        Row(what="CPU µs a message, PostgreSQL", figure="service.cost.postgres_us"),
    ),
)
