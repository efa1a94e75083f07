"""Statements a message at saturation, counted in PostgreSQL's own log, BEGIN and COMMIT among them. The log costs
time: no speed is read from this scenario.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from bench.rig import Loop, Rig, Run
from bench.scenario import Row, Scenario
from bench.scenarios.stage import staged

CALLS = 4
OFFERED = 1000


@asynccontextmanager
async def _loops(rig: Rig) -> AsyncIterator[Mapping[str, Loop]]:
    await rig.postgres.log_statements(on=True)
    try:
        async with _counting(rig) as loops:
            yield loops
    finally:
        await rig.postgres.log_statements(on=False)


@asynccontextmanager
async def _counting(rig: Rig) -> AsyncIterator[Mapping[str, Loop]]:
    async with staged(rig, "sendgrid") as stage:

        async def counted(loop: Loop) -> Run:
            before = rig.postgres.statements()
            found = await loop()
            sent = rig.postgres.statements() - before
            if not sent:
                raise RuntimeError("PostgreSQL's log shows no statement of a dispatcher: is it written otherwise now?")
            return {"a_message": sent / max(found["messages"], 1)}

        batches = stage.service(way="batch", in_flight=CALLS, size=100, most=int(OFFERED * rig.scale.seconds))
        unary = stage.service()
        yield {"unary": lambda: counted(unary), "batch": lambda: counted(batches)}


SCENARIO = Scenario(
    name="statements",
    title="Statements a message at saturation",
    loops=_loops,
    rows=(
        Row(what="unary", figure="unary.a_message", at_most=0.2),
        Row(what="batches of 100", figure="batch.a_message", at_most=0.2),
    ),
)
