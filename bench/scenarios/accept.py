"""Accepting alone, in batches of 100: the dispatcher may send one message at a time, to a provider that takes half a
second for it.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from bench.rig import Loop, Rig, Run
from bench.scenario import Row, Scenario
from bench.scenarios.stage import relay, relayed, staged

CALLS = 8


@asynccontextmanager
async def _loops(rig: Rig) -> AsyncIterator[Mapping[str, Loop]]:
    target, _ = await relay(rig)
    async with staged(rig, "sendgrid", warm=False, MAX_IN_FLIGHT="1") as stage:
        await stage.behave(0, latency=0.5)

        async def accepted() -> Mapping[str, float]:
            said = await rig.offer(stage.dispatch.target, stage.project, way="batch", in_flight=CALLS, size=100)
            took = said["ended"] - said["began"]
            return {"rate": said["handed"] / took, "messages": said["handed"], "p99_ms": said["p99_ms"]}

        async def loop() -> Run:
            await rig.postgres.empty()
            return await rig.busy(accepted(), service=stage.dispatch.pid)

        yield {"a": relayed(rig, target), "service": loop}


SCENARIO = Scenario(
    name="accept",
    title="Accepting alone, batches of 100",
    loops=_loops,
    rows=(
        Row(what="messages/s", figure="service.rate", at_least=10_000),
        Row(what="messages/s", figure="service.rate", beside="a.rate"),
        Row(what="CPU µs a message, dispatch", figure="service.cost.service_us"),
        Row(what="CPU µs a message, PostgreSQL", figure="service.cost.postgres_us"),
    ),
)
