"""The door over real sockets: refused before work, read only when known, ended when not read, drained without waiting
for watchers of health.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.chassis.admission import Admission, Limits
from services.chassis.auth import AuthSettings, TokenVerifier
from services.chassis.errors import ResourceExhausted
from services.chassis.interceptors import standard_interceptors
from services.chassis.server import RunningServer, serve
from services.chassis.status import from_rpc_error
from services.chassis.streaming import resumable
from tests.integration.chassis import echo
from tests.integration.chassis.conftest import SECRET, a_token

PIECE = b"x" * 10_000
# What a client of ours says (gateway/upstream.py): its window does not grow to megabytes for what it does not read.
SMALL_WINDOW = [("grpc.http2.bdp_probe", 0)]


def headers() -> tuple[tuple[str, str], ...]:
    """A caller's metadata, with a token of this moment."""
    return (("authorization", f"Bearer {a_token()}"),)


class Flood(echo.Echo):
    """Its stream never ends, and says where to go on."""

    async def many(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        number = 0
        while True:
            number += 1
            with resumable(afterSequence=str(number)):
                yield PIECE


@dataclass
class Door:
    """A server behind a door, and a channel to it."""

    server: RunningServer
    service: echo.Echo
    admission: Admission
    channel: grpc.aio.Channel

    def one(self, request: bytes = b"x", *, metadata: Any = None, **call: Any) -> Any:
        """A unary call."""
        method: Any = self.channel.unary_unary(f"/{echo.NAME}/One")
        return method(request, metadata=headers() if metadata is None else metadata, **call)

    def sending(self, *requests: Any, **call: Any) -> Any:
        """The same call by a client that sends its request as a stream, or never."""
        method: Any = self.channel.stream_unary(f"/{echo.NAME}/One")
        return method(*requests, timeout=5, **call)

    def many(self) -> Any:
        """A stream."""
        method: Any = self.channel.unary_stream(f"/{echo.NAME}/Many")
        return method(b"", metadata=headers())


@asynccontextmanager
async def door(limits: Limits, service: echo.Echo | None = None, **options: Any) -> AsyncIterator[Door]:
    """A server with these limits."""
    service = service or echo.Echo()
    admission = Admission(limits)
    verifier = TokenVerifier(AuthSettings(jwt_secret=SECRET))
    interceptors = standard_interceptors(verifier, echo.SCOPES.get, admission)
    async with (
        serve(
            service.register,
            host="127.0.0.1",
            port=0,
            names=[echo.NAME],
            interceptors=interceptors,
            admission=admission,
            **options,
        ) as server,
        grpc.aio.insecure_channel(server.address, options=SMALL_WINDOW) as channel,
    ):
        yield Door(server=server, service=service, admission=admission, channel=channel)


async def until(condition: Any) -> None:
    """Returns when it is so."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_one_call_too_many_is_refused_at_once() -> None:
    """Over the bound: RESOURCE_EXHAUSTED with RetryInfo before any work; health still answers; then there is room."""
    async with door(Limits(calls=2)) as it:
        waiting = [it.one(b"wait") for _ in range(2)]
        await until(lambda: it.admission.under_way == 2)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await it.one()
        health: Any = health_pb2_grpc.HealthStub(it.channel)
        answer = await health.Check(health_pb2.HealthCheckRequest())
        it.service.release.set()
        assert await asyncio.gather(*waiting) == [b"ada:wait"] * 2
        assert await it.one() == b"ada:x"

    refused = from_rpc_error(caught.value)
    assert isinstance(refused, ResourceExhausted)
    assert refused.reason == "OVERLOADED"
    assert 0.5 <= (refused.retry_after or 0) <= 1.5
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_stranger_is_refused_before_the_request_is_read() -> None:
    """A caller without a token who sends nothing is refused all the same: nothing was waited for, nothing kept."""
    async with door(Limits()) as it:
        call = it.sending(metadata=())
        assert await call.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_request_that_does_not_arrive_is_given_up() -> None:
    """A known caller has a while to send the request; a call without any is wrong."""
    async with door(Limits(read_seconds=0.1)) as it:
        call = it.sending(metadata=headers())
        assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        empty = it.sending(iter(()), metadata=headers())
        assert await empty.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_request_over_the_limit_never_reaches_the_method() -> None:
    """One byte too many is RESOURCE_EXHAUSTED, also where we read requests ourselves."""
    async with door(Limits(), max_receive_bytes=1000) as it:
        assert await it.one(b"x" * 1000) == b"ada:" + b"x" * 1000
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await it.one(b"x" * 1001, timeout=5)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await until(lambda: it.admission.under_way == 0)


async def test_a_watcher_who_does_not_read_is_ended_and_can_go_on() -> None:
    """After the patience: ABORTED behind what is on its way, with the place of the last answer; nobody else waits."""
    async with door(Limits(stall_seconds=0.3), Flood()) as it:
        watcher = it.many()
        assert await watcher.read() == PIECE
        assert await it.one() == b"ada:x"  # the others are served meanwhile
        got = 1
        await asyncio.sleep(1)  # it is not reading: that is the case, not a wait for anything
        error = None
        while error is None:
            try:
                got += await watcher.read() == PIECE
            except grpc.aio.AioRpcError as end:
                error = end
        await until(lambda: it.admission.under_way == 0)

    assert error.code() is grpc.StatusCode.ABORTED
    assert from_rpc_error(error).metadata == {"afterSequence": str(got)}


async def test_a_watcher_who_never_reads_is_cut_off() -> None:
    """Who does not even read the end of the stream holds a place for some seconds and no longer."""
    async with door(Limits(stall_seconds=0.2, parting_seconds=0.2), Flood()) as it:
        watcher = it.many()
        assert await watcher.read() == PIECE
        await until(lambda: it.admission.under_way == 0)
        assert await it.one() == b"ada:x"


async def test_a_drain_waits_for_calls_and_not_for_watchers_of_health() -> None:
    """The drain ends when the last call has, though somebody watches health and the grace is long."""
    async with door(Limits()) as it:
        health: Any = health_pb2_grpc.HealthStub(it.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        call = it.one(b"wait")
        await until(lambda: it.admission.under_way == 1)
        draining = asyncio.create_task(it.server.drain(60))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        await asyncio.sleep(0.2)
        assert not draining.done()
        it.service.release.set()
        assert await call == b"ada:wait"
        await asyncio.wait_for(draining, 5)
