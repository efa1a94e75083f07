"""What a message costs with ten thousand, a hundred thousand and a million ended ones in the tables."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from bench.rig import Loop, Rig, Run
from bench.scenario import Row, Scenario
from bench.scenarios.stage import staged

FLAT = 1.1
DEFAULT = (10_000, 100_000, 1_000_000)


@asynccontextmanager
async def _loops(rig: Rig) -> AsyncIterator[Mapping[str, Loop]]:
    async with staged(rig, "sendgrid") as stage:
        measured = stage.service()
        await measured()  # the first of three is not to be the one that warms up

        async def filled() -> Run:
            await rig.postgres.empty()
            await stage.service(way="batch", in_flight=1, size=1, most=1)()
            row = await rig.postgres.fetch("SELECT id FROM dispatch.messages")
            model, there, found = str(row[0]["id"]), 0, dict[str, float]()
            for name, count in zip(("small", "middle", "large"), rig.scale.stored, strict=True):
                await rig.postgres.copy(model, count - there, ended=True)
                run, there = await measured(), count
                found[f"{name}_us"] = run["cost.service_us"] + run["cost.postgres_us"]
                found[f"{name}_rate"] = run["rate"]
            return found

        yield {"service": filled}


SCENARIO = Scenario(
    name="stored",
    title="CPU µs a message (dispatch and PostgreSQL) with 10 thousand, 100 thousand, 1 million stored",
    loops=_loops,
    rows=(
        Row(what="100 thousand beside 10", figure="service.middle_us", beside="service.small_us", at_most=FLAT),
        Row(what="1 million beside 10 thousand", figure="service.large_us", beside="service.small_us", at_most=FLAT),
        Row(what="messages/s, the same", figure="service.large_rate", beside="service.small_rate"),
    ),
)
