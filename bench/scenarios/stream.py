"""DispatchMessage: create, and read every event of the stream to its end."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from bench.rig import Loop, Rig
from bench.scenario import Row, Scenario
from bench.scenarios.stage import cpu, relay, relayed, staged


@asynccontextmanager
async def _loops(rig: Rig) -> AsyncIterator[Mapping[str, Loop]]:
    target, _ = await relay(rig)
    async with staged(rig, "sendgrid") as stage:
        yield {"a": relayed(rig, target), "service": stage.service(way="stream")}


SCENARIO = Scenario(
    name="stream",
    title="DispatchMessage with its stream read to the end",
    loops=_loops,
    rows=(
        Row(what="messages/s", figure="service.rate", beside="a.rate"),
        cpu("a"),
        Row(what="whole stream, p50 ms", figure="service.accept_p50_ms"),
        Row(what="whole stream, p99 ms", figure="service.accept_p99_ms"),
    ),
)
