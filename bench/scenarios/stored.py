"""What a message costs with ten thousand, a hundred thousand and a million ended ones in the tables: three databases,
filled once, that take turns.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from bench.rig import Loop, Rig, Run
from bench.scenario import Row, Scenario
from bench.scenarios.stage import Stage, project
from bench.scenarios.waiting import a_model

FLAT = 1.1
NAMES = ("small", "middle", "large")


@asynccontextmanager
async def _loops(rig: Rig) -> AsyncIterator[Mapping[str, Loop]]:
    name, ports = await project(rig, "sendgrid")
    async with AsyncExitStack() as stack:
        filled = {}
        for size, count in zip(NAMES, rig.scale.stored, strict=True):
            its = await stack.enter_async_context(rig.another_database(f"stored_{size}"))
            await its.postgres.copy(await a_model(its, name), count, ended=True)
            filled[size] = _measured(its, name, ports)
        yield filled


def _measured(rig: Rig, name: str, ports: tuple[int, ...]) -> Loop:
    async def loop() -> Run:
        # One of its own each time: the others would look after their tables meanwhile, on the same core.
        async with rig.dispatch() as dispatch:
            stage = Stage(rig=rig, project=name, ports=ports, dispatch=dispatch)
            await stage.service(seconds=rig.scale.warm)()
            found = await stage.service()()
        return {**found, "both_us": found["cost.service_us"] + found["cost.postgres_us"]}

    return loop


SCENARIO = Scenario(
    name="stored",
    title="CPU µs a message (dispatch and PostgreSQL) with 10 thousand, 100 thousand, 1 million stored",
    loops=_loops,
    rows=(
        Row(what="100 thousand beside 10", figure="middle.both_us", beside="small.both_us", at_most=FLAT),
        Row(what="1 million beside 10 thousand", figure="large.both_us", beside="small.both_us", at_most=FLAT),
        Row(what="messages/s, the same", figure="large.rate", beside="small.rate"),
    ),
)
