"""BatchCreateMessages of 100, until a provider has accepted the last one."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from bench.rig import Loop, Rig
from bench.scenario import Row, Scenario
from bench.scenarios.stage import alone, cpu, relay, relayed, staged

CALLS = 4
# Batches are accepted far quicker than they are sent: so many a second, so that a run does not end in a long drain.
OFFERED = 1000


@asynccontextmanager
async def _loops(rig: Rig) -> AsyncIterator[Mapping[str, Loop]]:
    target, port = await relay(rig)
    async with staged(rig, "sendgrid") as stage:
        most = int(OFFERED * rig.scale.seconds)
        yield {
            "b": alone(rig, "http_stack", port),
            "service": stage.service(way="batch", in_flight=CALLS, size=100, most=most),
            "a": relayed(rig, target),
        }


SCENARIO = Scenario(
    name="batch",
    title="BatchCreateMessages of 100 until the provider has accepted",
    loops=_loops,
    rows=(
        Row(what="messages/s", figure="service.rate", beside="b.rate", at_least=0.75),
        cpu("b"),
        Row(what="messages/s", figure="service.rate", beside="a.rate", at_least=1.0),
        cpu("a"),
    ),
)
