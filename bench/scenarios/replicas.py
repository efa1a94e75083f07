"""A second dispatcher on a second core: the same backlog drained by one and by two.

No load generator runs; the second dispatcher shares its core with PostgreSQL and the providers where there are no more
than two.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from bench.rig import Loop, Rig, Run
from bench.scenario import Row, Scenario
from bench.scenarios.stage import project
from bench.scenarios.waiting import a_model, until_drained

SHARE = 0.1  # of the other scenario's backlog


@asynccontextmanager
async def _loops(rig: Rig) -> AsyncIterator[Mapping[str, Loop]]:
    name, ports = await project(rig, "sendgrid")

    async def drained_by(count: int) -> Run:
        await rig.postgres.empty()
        model = await a_model(rig, name)
        # Due when every dispatcher serves, so that all of them begin together.
        await rig.postgres.copy(model, int(rig.scale.backlog * SHARE), ended=False, due_in=86_400)
        await rig.providers.ask("reset")
        async with AsyncExitStack() as stack:
            cores = (rig.cores.measured, rig.cores.rest[:1])
            serving = [await stack.enter_async_context(rig.dispatch(cores=cores[place])) for place in range(count)]
            await rig.postgres.run("UPDATE dispatch.queue SET due_at = now()")
            return await rig.busy(
                until_drained(rig, ports), **{f"dispatch{n}": its.pid for n, its in enumerate(serving, 1)}
            )

    async def one() -> Run:
        return await drained_by(1)

    async def two() -> Run:
        return await drained_by(2)

    yield {"one": one, "two": two}


SCENARIO = Scenario(
    name="replicas",
    title="A backlog drained by two dispatchers on two cores, beside one",
    loops=_loops,
    rows=(Row(what="messages/s", figure="two.rate", beside="one.rate", at_least=1.7),),
)
