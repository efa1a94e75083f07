"""How long each service takes from its start until it serves."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from bench.rig import Loop, Rig, Run
from bench.scenario import Row, Scenario

SERVICES = ("config", "dispatch", "gateway")


@asynccontextmanager
async def _loops(rig: Rig) -> AsyncIterator[Mapping[str, Loop]]:
    await rig.postgres.empty()
    serving = rig.config.target

    async def starts() -> Run:
        took = {}
        for name in SERVICES:
            async with rig.site.service(name, {"DISPATCH_TARGET": serving}, cores=rig.cores.measured) as service:
                took[f"{name}_ms"] = service.took * 1000
            rig.site.config_target = serving  # a second ConfigService was only there to be timed
        return took

    yield {"service": starts}


SCENARIO = Scenario(
    name="startup",
    title="From the start of a process until it serves",
    loops=_loops,
    rows=tuple(Row(what=f"{name}, ms", figure=f"service.{name}_ms") for name in SERVICES),
)
