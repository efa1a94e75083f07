"""The load generator, in a process of its own: closed loops for throughput, an open loop for latency. It knows nothing
of what became of a message; the providers do.

A closed loop keeps N calls open. An open loop sends by a schedule fixed beforehand and counts from the scheduled time,
so that a server that stands still is charged for everything that had to wait (no coordinated omission).
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import grpc
from messagepipe.dispatch.v1 import dispatch_service_pb2

from bench.agent import serve
from bench.arithmetic import schedule, spread
from bench.content import batch_request, rest_body, unary_request

SERVICE = "/messagepipe.dispatch.v1.DispatchService/"
PAUSE = 0.005  # after a refusal, so that refusals are not what is measured
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

# One call: how many messages it handed over; 0 when it was refused.
One = Callable[[], Awaitable[int]]


async def closed(one: One, *, in_flight: int, seconds: float, most: float = math.inf) -> Mapping[str, float]:
    """Keep `in_flight` calls open for so long, or until `most` messages are handed over; how many those were, when it
    began, and how long a call took.
    """
    latencies: list[float] = []
    handed = refused = 0
    began = time.monotonic()
    ends = began + seconds

    async def caller() -> None:
        nonlocal handed, refused
        while (start := time.monotonic()) < ends and handed < most:
            count = await one()
            latencies.append(time.monotonic() - start)
            handed += count
            if not count:
                refused += 1
                await asyncio.sleep(PAUSE)

    await asyncio.gather(*(caller() for _ in range(in_flight)))
    ended = time.monotonic()
    return {"handed": handed, "refused": refused, "began": began, "ended": ended, **spread(latencies)}


async def opened(one: One, *, rate: float, seconds: float) -> Mapping[str, float]:
    """Send by the schedule whatever the answers do; how long each took from its scheduled time on."""
    latencies: list[float] = []
    tasks: set[asyncio.Task[None]] = set()
    handed = refused = 0
    began = time.monotonic()

    async def call(due: float) -> None:
        nonlocal handed, refused
        count = await one()
        latencies.append(time.monotonic() - due)
        handed += count
        refused += not count

    for due in schedule(rate, seconds):
        if (wait := began + due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(call(began + due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    ended = time.monotonic()
    return {"handed": handed, "refused": refused, "began": began, "ended": ended, **spread(latencies)}


@asynccontextmanager
async def _calls(
    *, target: str, token: str, project: str, way: str, size: int = 100, channel: str = "EMAIL"
) -> AsyncIterator[One]:
    """What makes one call of a way: unary, batch (of `size`), stream, rest."""
    async with AsyncExitStack() as stack:
        if way == "rest":
            connector = aiohttp.TCPConnector(limit=0)
            session = await stack.enter_async_context(aiohttp.ClientSession(f"http://{target}", connector=connector))
            yield _rest(session, token, rest_body(project))
            return
        line = await stack.enter_async_context(grpc.aio.insecure_channel(target, options=OPTIONS))
        who = (("authorization", f"Bearer {token}"),)
        if way == "batch":
            yield _batch(line.unary_unary(f"{SERVICE}BatchCreateMessages"), batch_request(project, size), who)
        elif way == "stream":
            yield _stream(line.unary_stream(f"{SERVICE}DispatchMessage"), unary_request(project, channel), who)
        else:
            yield _unary(line.unary_unary(f"{SERVICE}CreateMessage"), unary_request(project, channel), who)


# Requests are serialised once and answers are not read, except where they say how many were taken: the generator shares
# a core with the database.
def _unary(call: Any, request: bytes, who: Any) -> One:
    async def one() -> int:
        try:
            await call(request, metadata=who)
        except grpc.aio.AioRpcError as error:
            return _refused(error)
        return 1

    return one


def _batch(call: Any, request: bytes, who: Any) -> One:
    async def one() -> int:
        try:
            answer = await call(request, metadata=who)
        except grpc.aio.AioRpcError as error:
            return _refused(error)
        return int(dispatch_service_pb2.BatchCreateMessagesResponse.FromString(answer).accepted)

    return one


def _stream(call: Any, request: bytes, who: Any) -> One:
    async def one() -> int:
        try:
            async for _ in call(request, metadata=who):
                pass
        except grpc.aio.AioRpcError as error:
            return _refused(error)
        return 1

    return one


def _rest(session: aiohttp.ClientSession, token: str, body: bytes) -> One:
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}

    async def one() -> int:
        async with session.post("/v1/messages", data=body, headers=headers) as answer:
            said = await answer.read()
            if answer.status not in (202, 429, 503):
                raise RuntimeError(f"{answer.status} {said[:200]!r}")
            return int(answer.status == 202)

    return one


def _refused(error: grpc.aio.AioRpcError) -> int:
    """0 where the server sheds load; anything else is a mistake of the rig."""
    if error.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE):
        return 0
    raise error


async def throughput(
    *, way: str, in_flight: int, seconds: float, most: float | None = None, **door: Any
) -> Mapping[str, float]:
    """A closed loop of one way to call."""
    async with _calls(way=way, **door) as one:
        return await closed(one, in_flight=in_flight, seconds=seconds, most=math.inf if most is None else most)


async def latency(*, way: str, rate: float, seconds: float, **door: Any) -> Mapping[str, float]:
    """An open loop of one way to call."""
    async with _calls(way=way, **door) as one:
        return await opened(one, rate=rate, seconds=seconds)


if __name__ == "__main__":
    serve({"throughput": throughput, "latency": latency})
