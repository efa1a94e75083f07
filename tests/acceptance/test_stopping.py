"""SIGTERM: what is being sent is finished, watchers are told where to go on, and everything has ended within 30 s, even
when a provider never answers. Real processes, real signals.
"""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import pytest
from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb
from messagepipe.dispatch.v1 import message_pb2
from messagepipe.dispatch.v1.attempt_pb2 import Attempt
from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceStub

from services.chassis.status import from_rpc_error
from tests.acceptance.processes import Process, free_port, process, until_serving
from tests.acceptance.test_crash_and_rescue import add_provider, batch, ending, environment
from tests.fakes.vendor import Reply, VendorServer
from tests.integration.rig import PROJECT, eventually, metadata, token

if TYPE_CHECKING:  # only the type stubs know the asynchronous stub class
    from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceAsyncStub

FOR_EVER = 600.0


@dataclass
class Site:
    """The three services as processes, a provider, and a client."""

    vendor: VendorServer
    config: Process
    dispatch: Process
    gateway: Process
    dispatch_target: str
    url: str
    messages: "DispatchServiceAsyncStub"

    async def create(self, count: int = 1) -> list[str]:
        """Accepted messages."""
        answer = await self.messages.BatchCreateMessages(batch(count, 0), metadata=metadata())
        return [result.message_id for result in answer.results]

    def watch(self, message_id: str) -> Any:
        """A watcher of a message."""
        return self.messages.WatchMessage(pb.WatchMessageRequest(message_id=message_id), metadata=metadata())


@asynccontextmanager
async def a_site(database_url: str, tmp_path: Any, *, delay: float, **settings: str) -> AsyncIterator[Site]:
    """Everything serving; the provider takes `delay` seconds to answer."""
    ports = [free_port() for _ in range(3)]
    environ = {
        **environment(database_url, ports[0], ports[1]),
        "MESSAGEPIPE_HTTP_PORT": str(ports[2]),
        "MESSAGEPIPE_DISPATCH_TARGET": f"127.0.0.1:{ports[1]}",
        **settings,
    }
    targets = [f"127.0.0.1:{port}" for port in ports]
    async with AsyncExitStack() as stack:
        vendor = await stack.enter_async_context(VendorServer(default=Reply(status=202, delay=delay)))
        services = {
            name: await stack.enter_async_context(process(name, environ=environ, log=tmp_path / f"{name}.log"))
            for name in ("config", "dispatch", "gateway")
        }
        for target in targets[:2]:
            await until_serving(target)
        await add_provider(targets[0], "first", vendor.url, 1, timeoutSeconds=120)
        await add_provider(targets[0], "second", vendor.url, 2)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(targets[1]))
        url = f"http://{targets[2]}"
        await eventually(lambda: answers(f"{url}/readyz"), seconds=30)
        yield Site(
            vendor=vendor, **services, dispatch_target=targets[1], url=url, messages=DispatchServiceStub(channel)
        )


async def answers(url: str) -> bool:
    """Whether an address answers well."""
    async with httpx.AsyncClient(trust_env=False) as client:
        try:
            return (await client.get(url)).is_success
        except httpx.TransportError:
            return False


async def end_of(stream: Any) -> tuple[list[Any], grpc.aio.AioRpcError | None]:
    """What a stream told, and the error that ended it."""
    seen: list[Any] = []
    try:
        while (item := await stream.read()) is not grpc.aio.EOF:
            seen.append(item)
    except grpc.aio.AioRpcError as error:
        return seen, error
    return seen, None


async def stopped_within(service: Process, seconds: float) -> tuple[int | None, float]:
    """The exit code after SIGTERM, None when there was none, and how long it took."""
    began = time.monotonic()
    service.send(signal.SIGTERM)
    code = await service.ended(seconds)
    return code, time.monotonic() - began


@pytest.mark.timeout(120)
async def test_what_is_being_sent_is_finished(database_url, tmp_path) -> None:
    """Messages whose provider is answering when SIGTERM comes are settled by this process, their watcher sees the end;
    project watchers get UNAVAILABLE with a token that loses nothing; the exit code is 0.
    """
    async with a_site(database_url, tmp_path, delay=1.5) as site:
        project = site.messages.WatchProject(pb.WatchProjectRequest(project_id=PROJECT), metadata=metadata())
        await project.initial_metadata()
        following = asyncio.create_task(end_of(project))
        ids = await site.create(20)
        await eventually(lambda: len(site.vendor.received) == 20, seconds=30)
        watching = asyncio.create_task(end_of(site.watch(ids[0])))
        code, took = await stopped_within(site.dispatch, 30)
        events, error = await watching
        told, moved = await following
        await site.dispatch.start()
        await until_serving(site.dispatch_target)
        resumed = pb.WatchProjectRequest(project_id=PROJECT, resume_token=token_of(moved))
        again: Any = site.messages.WatchProject(resumed, metadata=metadata())
        ended = {item.event.message_id for item in told if item.event.HasField("completed")}
        async with asyncio.timeout(20):
            while ended != set(ids):
                item = await again.read()
                if item.event.HasField("completed"):
                    ended.add(item.event.message_id)
        states = [(await ending(site.messages, each)).attempts for each in ids]

    assert (code, error) == (0, None)
    assert took < 10
    assert events[-1].HasField("completed")
    assert [len(attempts) for attempts in states] == [1] * 20
    assert len(site.vendor.received) == 20


def token_of(error: grpc.aio.AioRpcError | None) -> str:
    """From where an ended stream goes on."""
    assert error is not None
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    return from_rpc_error(error).metadata["resumeToken"]


@pytest.mark.timeout(180)
async def test_a_provider_that_never_answers_holds_nothing_up(database_url, tmp_path) -> None:
    """All three services end within 30 s of SIGTERM although a call hangs: its attempt becomes unknown at the rescuer,
    its watchers are told where to go on, over gRPC and over SSE.
    """
    async with a_site(database_url, tmp_path, delay=FOR_EVER) as site, httpx.AsyncClient(trust_env=False) as client:
        (message_id,) = await site.create()
        await eventually(lambda: site.vendor.received, seconds=30)
        watching = asyncio.create_task(end_of(site.watch(message_id)))
        events = f"{site.url}/v1/messages/{message_id}/events"
        headers = {"authorization": f"Bearer {token(PROJECT)}"}
        async with client.stream("GET", events, headers=headers, timeout=60) as sse:
            lines = sse.aiter_lines()
            assert [await anext(lines) for _ in range(3)][-1] == "id: 1"
            gateway = asyncio.create_task(stopped_within(site.gateway, 30))
            rest = [line async for line in lines]
        dispatch, config = await asyncio.gather(stopped_within(site.dispatch, 30), stopped_within(site.config, 30))
        seen, error = await watching
        await site.config.start()
        await site.dispatch.start()
        site.vendor.default = Reply(status=202)
        await until_serving(site.dispatch_target)
        message = await ending(site.messages, message_id)

    assert [(await gateway)[0], dispatch[0], config[0]] == [0, 0, 0]
    assert max((await gateway)[1], dispatch[1], config[1]) < 30
    last = max(index for index, line in enumerate(rest) if line == "event: error")
    assert rest[last - 1].startswith("id: ")
    assert "SHUTTING_DOWN" in rest[last + 1]
    assert error is not None
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert from_rpc_error(error).metadata == {"afterSequence": str(seen[-1].sequence)}
    assert message.state == message_pb2.Message.STATE_SENT
    assert message.attempts[0].outcome == Attempt.OUTCOME_UNKNOWN
    assert message.possible_duplicate


@pytest.mark.timeout(120)
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_it_at_once(database_url, tmp_path, second: signal.Signals) -> None:
    """Whoever cannot wait for the drain sends a second signal, SIGTERM or SIGINT."""
    async with a_site(database_url, tmp_path, delay=FOR_EVER) as site:
        await site.create()
        await eventually(lambda: site.vendor.received, seconds=30)
        site.dispatch.send(signal.SIGTERM)
        await eventually(lambda: "dispatch_draining" in site.dispatch.output(), seconds=10)
        began = time.monotonic()
        site.dispatch.send(second)
        code = await site.dispatch.ended()

    assert time.monotonic() - began < 3
    assert code == -second
