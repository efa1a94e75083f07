"""CreateMessage, one message a call, until a provider has accepted it; and the three limits."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from bench.rig import Loop, Rig
from bench.scenario import Row, Scenario
from bench.scenarios.stage import alone, cpu, relay, relayed, staged


@asynccontextmanager
async def _loops(rig: Rig) -> AsyncIterator[Mapping[str, Loop]]:
    target, port = await relay(rig)
    async with staged(rig, "sendgrid") as stage:
        yield {
            "a": relayed(rig, target),
            "service": stage.service(),
            "b": alone(rig, "http_stack", port),
            "c": alone(rig, "raw_aiohttp", port),
        }


SCENARIO = Scenario(
    name="unary",
    title="CreateMessage until the provider has accepted, one dispatcher; limits (a), (b), (c)",
    loops=_loops,
    rows=(
        Row(what="messages/s", figure="service.rate", beside="a.rate", at_least=0.85),
        cpu("a"),
        Row(what="limit (b) beside (a)", figure="b.rate", beside="a.rate", ours=False),
        Row(what="limit (c) beside (a)", figure="c.rate", beside="a.rate", ours=False),
        Row(what="CPU µs a message, dispatch", figure="service.cost.service_us"),
        Row(what="CPU µs a message, PostgreSQL", figure="service.cost.postgres_us"),
    ),
)
