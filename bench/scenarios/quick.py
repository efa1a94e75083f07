"""The ratios that are watched from change to change, in under a minute: one dispatcher, single messages, batches and
mails beside their limits. Only ratios of CPU time are compared with recorded ones: they hold where others use the
machine too, as in a CI.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from bench.rig import Loop, Rig
from bench.scenario import Row, Scenario
from bench.scenarios.kinds import CONNECTIONS
from bench.scenarios.stage import alone, cpu, project, relay, relayed, staged

# At a time, and so many before no more are begun: what is accepted has to be sent before the minute is over.
BATCHES = 2


@asynccontextmanager
async def _loops(rig: Rig) -> AsyncIterator[Mapping[str, Loop]]:
    target, port = await relay(rig)
    smtp = await rig.provider("smtp")
    async with staged(rig, "sendgrid") as stage:
        name, ports = await project(rig, "smtp")
        mails = replace(stage, project=name, ports=ports)
        await mails.service(seconds=rig.scale.warm)()
        yield {
            "a": relayed(rig, target),
            "unary": stage.service(),
            "b": alone(rig, "http_stack", port),
            "batch": stage.service(way="batch", in_flight=BATCHES, size=100, most=BATCHES * 100),
            "d": alone(rig, "smtp", smtp, in_flight=CONNECTIONS),
            "smtp": mails.service(),
        }


SCENARIO = Scenario(
    name="quick",
    title="Single messages, batches of 100 and mails, short",
    loops=_loops,
    rows=(
        Row(what="single messages/s", figure="unary.rate", beside="a.rate"),
        cpu("a", "unary"),
        Row(what="in batches, messages/s", figure="batch.rate", beside="b.rate"),
        cpu("b", "batch"),
        Row(what="mails/s", figure="smtp.rate", beside="d.rate"),
        cpu("d", "smtp"),
    ),
)
