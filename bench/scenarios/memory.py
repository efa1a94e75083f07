"""Resident memory: of each service idle, of a dispatcher under load, and of one that has a million messages to send
beside one that has ten thousand: both send as fast as they can meanwhile.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from bench.processes import memory_megabytes, peak_megabytes
from bench.rig import Loop, Rig, Run
from bench.scenario import Row, Scenario
from bench.scenarios.stage import IN_FLIGHT, project
from bench.scenarios.waiting import a_model

SETTLED = 2.0
FLAT = 1.1


@asynccontextmanager
async def _loops(rig: Rig) -> AsyncIterator[Mapping[str, Loop]]:
    name, ports = await project(rig, "sendgrid")

    async def idle_and_loaded() -> Run:
        await rig.postgres.empty()
        async with (
            rig.dispatch() as dispatch,
            rig.site.service("gateway", {"DISPATCH_TARGET": dispatch.target}, cores=rig.cores.rest) as gateway,
        ):
            await asyncio.sleep(SETTLED)
            found = {
                f"{service.name}_{what}": value
                for service in (rig.config, dispatch, gateway)
                for what, value in memory_megabytes(service.pid).items()
            }
            await rig.sent(dispatch, name, ports, way="unary", in_flight=IN_FLIGHT)
            return {**found, "loaded_mb": peak_megabytes(dispatch.pid)}

    yield {"service": idle_and_loaded}


@asynccontextmanager
async def _queues(rig: Rig) -> AsyncIterator[Mapping[str, Loop]]:
    name, _ = await project(rig, "sendgrid")
    async with rig.another_database("waiting_few") as few, rig.another_database("waiting_many") as many:

        async def filled(its: Rig, count: int) -> Loop:
            await its.postgres.copy(await a_model(its, name), count, ended=False)
            return lambda: _peak(its)

        yield {"few": await filled(few, rig.scale.queued // 100), "many": await filled(many, rig.scale.queued)}


async def _peak(rig: Rig) -> Run:
    async with rig.dispatch() as dispatch:
        await asyncio.sleep(rig.scale.seconds + SETTLED)
        return {"mb": peak_megabytes(dispatch.pid)}


IDLE = Scenario(
    name="memory",
    title="Resident memory of a process, 10^6 bytes",
    loops=_loops,
    rows=(
        *(
            Row(what=f"{name} idle, MB", figure=f"service.{name}_rss_mb", at_most=90)
            for name in ("config", "dispatch", "gateway")
        ),
        *(
            Row(what=f"{name} idle, its own share (PSS)", figure=f"service.{name}_pss_mb")
            for name in ("config", "dispatch", "gateway")
        ),
        Row(what="dispatch, most under load", figure="service.loaded_mb"),
    ),
)
QUEUES = Scenario(
    name="memory-queue",
    title="The most memory of a dispatcher that sends, 1 million messages waiting beside 10 thousand, 10^6 bytes",
    loops=_queues,
    rows=(Row(what="1 million waiting beside 10 thousand, MB", figure="many.mb", beside="few.mb", at_most=FLAT),),
)
