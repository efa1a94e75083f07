"""Resident memory: of each service idle, of a dispatcher under load, and of one that has a million messages to send."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from bench.processes import memory_megabytes, peak_megabytes
from bench.rig import Loop, Rig, Run
from bench.scenario import Row, Scenario
from bench.scenarios.stage import IN_FLIGHT, project
from bench.scenarios.waiting import a_model

SETTLED = 2.0


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

    async def with_queue() -> Run:
        await rig.postgres.empty()
        model = await a_model(rig, name)
        await rig.postgres.copy(model, rig.scale.queued, ended=False)
        async with rig.dispatch() as dispatch:
            await asyncio.sleep(rig.scale.seconds + SETTLED)
            return {"queued_mb": peak_megabytes(dispatch.pid)}

    yield {"service": idle_and_loaded, "backlog": with_queue}
    await rig.postgres.empty()


SCENARIO = Scenario(
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
        Row(what="dispatch, most with the queue full", figure="backlog.queued_mb", beside="service.loaded_mb"),
    ),
)
