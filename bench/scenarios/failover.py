"""Provider A refuses and B accepts: how many messages a second, and how soon B is asked after A's answer.

A that always answers 503 has its breaker opened by the fifth one and is passed by from then on; that is the throughput
row. For the time, A refuses every third message: its breaker stays closed and every refusal is a failover.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from bench.arithmetic import spread
from bench.rig import Loop, Rig, Run
from bench.scenario import Row, Scenario
from bench.scenarios.stage import cpu, relay, relayed, staged

REFUSED = 503
SOMETIMES = {"202": 2 / 3, "503": 1 / 3}


@asynccontextmanager
async def _throughput(rig: Rig) -> AsyncIterator[Mapping[str, Loop]]:
    target, _ = await relay(rig)
    async with staged(rig, "sendgrid", "sendgrid", warm=False) as stage:
        await stage.behave(0, shares={str(REFUSED): 1})
        yield {"a": relayed(rig, target), "service": stage.service()}


@asynccontextmanager
async def _time(rig: Rig) -> AsyncIterator[Mapping[str, Loop]]:
    async with staged(rig, "sendgrid", "sendgrid") as stage:
        await stage.behave(0, shares=SOMETIMES, log=True)
        await stage.behave(1, log=True)
        full = 0.0
        saturated = stage.service()

        async def whole() -> Run:
            nonlocal full
            found = await saturated()
            full = found["rate"]
            return found

        async def half() -> Run:
            await rig.providers.ask("reset")
            await rig.paced(stage.dispatch, stage.project, rate=full / 2)
            await rig.postgres.drained(60)
            seen = [await rig.providers.ask("seen", port=port) for port in stage.ports]
            times = gaps(*seen)
            return {"failovers": len(times), **spread(times)}

        yield {"full": whole, "half": half}


def gaps(first: Sequence[tuple[str, float, int]], second: Sequence[tuple[str, float, int]]) -> list[float]:
    """Seconds from each refusal of the first provider to the same message's request at the second; (message, time,
    status) of both.
    """
    refused = {message: at for message, at, status in first if status == REFUSED}
    return [at - refused[message] for message, at, _ in second if message in refused]


THROUGHPUT = Scenario(
    name="failover",
    title="A always answers 503, B accepts",
    loops=_throughput,
    rows=(Row(what="messages/s", figure="service.rate", beside="a.rate"), cpu("a")),
)
TIME = Scenario(
    name="failover-time",
    title="From A's 503 to B's request on the wire, at half load; A refuses every third message",
    loops=_time,
    rows=(
        Row(what="p50 ms", figure="half.p50_ms", at_most=5),
        Row(what="p99 ms", figure="half.p99_ms", at_most=20),
        Row(what="failovers measured", figure="half.failovers"),
    ),
)
