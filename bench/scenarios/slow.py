"""Providers that take 50 ms and 500 ms, with a thousand calls in flight."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from bench.rig import Loop, Rig
from bench.scenario import Row, Scenario
from bench.scenarios.stage import cpu, relay, relayed, staged

IN_FLIGHT = 1000


@asynccontextmanager
async def _loops(rig: Rig, seconds: float) -> AsyncIterator[Mapping[str, Loop]]:
    target, _ = await relay(rig, latency=seconds)
    async with staged(rig, "sendgrid", MAX_IN_FLIGHT=str(IN_FLIGHT)) as stage:
        await stage.behave(0, latency=seconds)
        # A thousand at a time can be sent so often; what is accepted beyond that would only lengthen the drain.
        most = int(max(rig.scale.seconds, 2) * min(IN_FLIGHT / seconds, 1500))
        yield {"a": relayed(rig, target, in_flight=IN_FLIGHT), "service": stage.service(most=most)}


def _scenario(milliseconds: int) -> Scenario:
    def loops(rig: Rig) -> AbstractAsyncContextManager[Mapping[str, Loop]]:
        return _loops(rig, milliseconds / 1000)

    return Scenario(
        name=f"slow-{milliseconds}",
        title=f"The provider takes {milliseconds} ms, {IN_FLIGHT} in flight",
        loops=loops,
        rows=(Row(what="messages/s", figure="service.rate", beside="a.rate"), cpu("a")),
    )


SCENARIOS = (_scenario(50), _scenario(500))
