"""POST /v1/messages through the gateway, which answers when the message is durable. Gateway and dispatcher share the
measured core.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from bench.rig import Loop, Rig, Run
from bench.scenario import Row, Scenario
from bench.scenarios.stage import IN_FLIGHT, relay, relayed, staged


@asynccontextmanager
async def _loops(rig: Rig) -> AsyncIterator[Mapping[str, Loop]]:
    target, _ = await relay(rig)
    async with (
        staged(rig, "sendgrid") as stage,
        rig.site.service("gateway", {"DISPATCH_TARGET": stage.dispatch.target}, cores=rig.cores.measured) as gateway,
    ):

        async def loop() -> Run:
            work = rig.until_accepted(gateway, stage.project, stage.ports, way="rest", in_flight=IN_FLIGHT)
            return await rig.busy(work, service=stage.dispatch.pid, gateway=gateway.pid)

        await rig.offer(gateway.target, stage.project, way="rest", in_flight=IN_FLIGHT, seconds=rig.scale.warm)
        yield {"a": relayed(rig, target), "service": loop}


SCENARIO = Scenario(
    name="rest",
    title="POST /v1/messages through the gateway until the provider has accepted",
    loops=_loops,
    rows=(Row(what="messages/s", figure="service.rate", beside="a.rate"),),
)
