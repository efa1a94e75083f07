"""A run in which many callers use the same idempotency keys at once, on all dispatchers, while those are killed."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import grpc
from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb
from messagepipe.dispatch.v1 import message_pb2
from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceStub

from tests.chaos.load import CALL_SECONDS, Load
from tests.chaos.nemesis import Harm, Nemesis, kill_dispatcher
from tests.chaos.scenarios import ROUGH, Options, Report, conclude
from tests.chaos.site import CHANNEL_OPTIONS, open_site
from tests.integration.rig import EMAIL, PROJECT, metadata

CALLERS = 50
AGAIN_SECONDS = 60.0
HARMS: Sequence[Harm] = (kill_dispatcher,)


@dataclass
class Callers:
    """Who calls with the same keys. `answers` are the ids that each key's callers were told, `first` counts the answers
    that were no repetition.
    """

    load: Load
    stubs: Sequence[Any]
    dice: random.Random
    answers: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    first: Counter[str] = field(default_factory=Counter)

    async def race(self, key: str) -> None:
        """All at once with one key."""
        await self.load.note_sent(key)
        async with asyncio.TaskGroup() as group:
            for _ in range(CALLERS):
                group.create_task(self._insist(key))
        for message_id in sorted(set(self.answers[key])):
            await self.load.note_acknowledged(key, message_id)

    async def _insist(self, key: str) -> None:
        """One caller, who calls again until the call is answered."""
        clock = asyncio.get_running_loop().time
        ends = clock() + AGAIN_SECONDS
        while clock() < ends:
            try:
                answer = await self._call(key)
            except grpc.aio.AioRpcError as error:
                self.load.refused[error.code().name] += 1
                self.load.repeated += 1
                await asyncio.sleep(self.dice.uniform(0.1, 0.5))
            else:
                self.answers[key].append(answer.id)
                self.first[key] += not answer.replayed
                return

    async def _call(self, key: str) -> message_pb2.Message:
        spec = message_pb2.MessageSpec(
            project_id=PROJECT,
            channel=EMAIL,
            to=f"{key}@example.com",
            subject="Hello",
            text="Hello",
            idempotency_key=key,
        )
        stub, request = self.dice.choice(self.stubs), pb.CreateMessageRequest(message=spec)
        answer: message_pb2.Message = await stub.CreateMessage(
            request, metadata=metadata(), timeout=CALL_SECONDS, wait_for_ready=True
        )
        return answer


async def keys(options: Options) -> Report:
    """50 callers at once with each of 500 keys while dispatchers are killed: one message per key, all are told it."""
    report = Report(scenario="keys", seed=options.seed, seconds=options.seconds)
    count = round(options.seconds * options.rate)
    async with open_site(options.folder, seed=options.seed) as site, AsyncExitStack() as stack:
        await site.behave(a=ROUGH, b={"latency": 0.05})
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(door, options=CHANNEL_OPTIONS))
            for door in site.doors
        ]
        load = Load(site=site, seed=options.seed)
        callers = Callers(load, [DispatchServiceStub(each) for each in channels], random.Random(options.seed))
        nemesis = Nemesis(site=site, seed=options.seed, harms=HARMS, every=2.0)

        async def come() -> None:
            async with asyncio.TaskGroup() as group:
                for place in range(count):
                    group.create_task(callers.race(f"key{place}"))
                    await asyncio.sleep(1 / options.rate)

        async with asyncio.TaskGroup() as group:
            group.create_task(come())
            group.create_task(nemesis.run(options.seconds * 0.9))
        load.seconds = options.seconds
        report.fired = dict(nemesis.fired)
        report.check(nemesis.fired.total() >= options.seconds / 8, f"too few faults fired: {report.fired}")
        _hold(report, callers, count)
        return await conclude(report, site, load)


def _hold(report: Report, callers: Callers, count: int) -> None:
    calls = sum(map(len, callers.answers.values()))
    several = [key for key, ids in callers.answers.items() if len(set(ids)) > 1]
    report.measured |= {"keys": count, "callers per key": CALLERS, "calls answered": calls}
    report.measured["calls made again"] = callers.load.repeated
    report.check(calls == count * CALLERS, f"{count * CALLERS - calls} callers were never answered")
    report.check(not several, f"keys with several messages: {several[:5]}")
    made_twice = [key for key, times in callers.first.items() if times > 1]
    report.check(not made_twice, f"several callers were told that theirs was the first: {made_twice[:5]}")
