"""The delivery log of a project with a million messages: page 1,000 beside page 1, of all messages and of one channel,
at two lengths. The median time of a call.
"""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from statistics import median

import grpc
from messagepipe.dispatch.v1 import log_service_pb2
from messagepipe.dispatch.v1.log_service_pb2_grpc import LogServiceStub

from bench.rig import Loop, Rig, Run
from bench.scenario import Row, Scenario
from bench.scenarios.stage import project
from bench.scenarios.waiting import a_model
from bench.site import token
from services.chassis.env import SecretText
from services.dispatch.housekeeping import mark_log
from services.dispatch.store import Store

FLAT = 2.0
LIMITS = (50, 100)
TYPES = {"all": "", "email": "email"}
FEWEST = 20


@asynccontextmanager
async def _loops(rig: Rig) -> AsyncIterator[Mapping[str, Loop]]:
    name, _ = await project(rig, "sendgrid")
    async with rig.another_database("delivery_log") as its:
        await its.postgres.copy(await a_model(its, name), rig.scale.stored[-1], ended=True)
        await _mark(its)
        async with its.dispatch() as dispatch:
            yield {
                f"{word}_{limit}": _measured(rig, dispatch.target, name, message_type, limit)
                for word, message_type in TYPES.items()
                for limit in LIMITS
            }


async def _mark(rig: Rig) -> None:
    """What housekeeping does within a minute: all that was copied is marked."""
    await rig.postgres.fetch("SELECT pg_sleep(75)")
    store = await Store.open(SecretText(rig.postgres.dsn), worker="bench", lease_seconds=30, connections=3)
    try:
        await mark_log(store)
    finally:
        await store.close()


def _measured(rig: Rig, target: str, name: str, message_type: str, limit: int) -> Loop:
    async def loop() -> Run:
        async with grpc.aio.insecure_channel(target) as channel:
            stub = LogServiceStub(channel)

            async def call(page: int) -> float:
                request = log_service_pb2.ListLogEntriesRequest(
                    project_id=name, message_type=message_type, page=page, limit=limit
                )
                began = time.monotonic()
                answer = await stub.ListLogEntries(request, metadata=(("authorization", f"Bearer {token()}"),))
                took = time.monotonic() - began
                if len(answer.data) != limit:
                    raise RuntimeError(f"page {page} of {limit} has {len(answer.data)} entries")
                return took * 1000

            first: list[float] = []
            deep: list[float] = []
            ends = time.monotonic() + rig.scale.seconds
            while len(deep) < FEWEST or time.monotonic() < ends:
                first.append(await call(1))
                deep.append(await call(1000))
        return {"first_ms": median(first), "deep_ms": median(deep)}

    return loop


SCENARIO = Scenario(
    name="delivery-log",
    title="The delivery log with a million messages: ms for page 1,000 beside page 1",
    loops=_loops,
    rows=tuple(
        Row(
            what=f"{word}, {limit} a page",
            figure=f"{word}_{limit}.deep_ms",
            beside=f"{word}_{limit}.first_ms",
            at_most=FLAT,
        )
        for word in TYPES
        for limit in LIMITS
    ),
)
