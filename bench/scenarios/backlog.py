"""A backlog that stands in the database is drained by a dispatcher that starts; nothing new comes in."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from bench.processes import peak_megabytes
from bench.rig import Loop, Rig, Run
from bench.scenario import Row, Scenario
from bench.scenarios.stage import alone, cpu, project, relay
from bench.scenarios.waiting import a_model, until_drained


@asynccontextmanager
async def _loops(rig: Rig) -> AsyncIterator[Mapping[str, Loop]]:
    target_port = (await relay(rig))[1]
    name, ports = await project(rig, "sendgrid")

    async def drain() -> Run:
        await rig.postgres.empty()
        model = await a_model(rig, name)
        await rig.postgres.copy(model, rig.scale.backlog, ended=False)
        await rig.providers.ask("reset")
        async with rig.dispatch() as dispatch:
            found = await rig.busy(until_drained(rig, ports), service=dispatch.pid)
            return {**found, "peak_mb": peak_megabytes(dispatch.pid)}

    yield {"b": alone(rig, "http_stack", target_port), "service": drain}


SCENARIO = Scenario(
    name="backlog",
    title="A backlog is drained by one dispatcher",
    loops=_loops,
    rows=(
        Row(what="messages/s", figure="service.rate", beside="b.rate"),
        cpu("b"),
        Row(what="messages", figure="service.messages"),
        Row(what="most memory, MB", figure="service.peak_mb"),
    ),
)
