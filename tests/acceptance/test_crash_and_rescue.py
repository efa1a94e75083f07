"""The promise under kill -9: nothing accepted is lost, and a duplicate only comes from an attempt that is marked
unknown.
"""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from messagepipe.config.v1 import config_service_pb2, provider_pb2
from messagepipe.config.v1.config_service_pb2_grpc import ConfigServiceStub
from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb
from messagepipe.dispatch.v1 import message_pb2
from messagepipe.dispatch.v1.attempt_pb2 import Attempt
from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceStub

from tests.acceptance.processes import free_port, process, until_serving
from tests.fakes.vendor import Received, Reply, VendorServer
from tests.integration.rig import EMAIL, PROJECT, SECRET, VAULT_KEYS, eventually, metadata, struct

if TYPE_CHECKING:  # only the type stubs know the asynchronous stub class
    from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceAsyncStub

MESSAGES = 1000
ENDED = (message_pb2.Message.STATE_SENT, message_pb2.Message.STATE_UNKNOWN)


def environment(database_url: str, config_port: int, dispatch_port: int) -> dict[str, str]:
    """The settings of both services."""
    return {
        "MESSAGEPIPE_DATABASE_URL": database_url,
        "MESSAGEPIPE_JWT_SECRET": SECRET.reveal(),
        "MESSAGEPIPE_VAULT_KEYS": VAULT_KEYS.reveal(),
        "MESSAGEPIPE_CONFIG_PORT": str(config_port),
        "MESSAGEPIPE_DISPATCH_PORT": str(dispatch_port),
        "MESSAGEPIPE_CONFIG_TARGET": f"127.0.0.1:{config_port}",
        "MESSAGEPIPE_EGRESS_ALLOW": "127.0.0.0/8",
        "MESSAGEPIPE_LEASE_SECONDS": "3",
    }


async def add_provider(target: str, name: str, url: str, priority: int, **config: Any) -> None:
    """A SendGrid account whose endpoint is the test's server, with these settings on top."""
    async with grpc.aio.insecure_channel(target) as channel:
        provider = provider_pb2.Provider(
            channel=EMAIL,
            kind="sendgrid",
            name=name,
            priority=priority,
            config=struct(apiKey="SG.test", baseUrl=url, fromEmail="shop@example.com", **config),
        )
        request = config_service_pb2.CreateProviderRequest(project_id=PROJECT, provider=provider)
        await ConfigServiceStub(channel).CreateProvider(request, metadata=metadata())


def message_id_of(request: Received) -> str:
    """Our id in a request, as SendGrid would see it."""
    return str(request.json()["personalizations"][0]["custom_args"]["messagepipe_id"])


def batch(count: int, start: int) -> pb.BatchCreateMessagesRequest:
    """As many messages as asked for."""
    specs = [
        message_pb2.MessageSpec(
            project_id=PROJECT, channel=EMAIL, to=f"u{start + place}@example.com", subject="Hello", text="Hello"
        )
        for place in range(count)
    ]
    return pb.BatchCreateMessagesRequest(messages=specs)


async def ids_of(messages: "DispatchServiceAsyncStub") -> list[str]:
    """A thousand accepted messages."""
    found: list[str] = []
    for start in range(0, MESSAGES, 100):
        answer = await messages.BatchCreateMessages(batch(100, start), metadata=metadata())
        assert answer.accepted == 100
        found += [result.message_id for result in answer.results]
    return found


@pytest.mark.timeout(120)
async def test_kill_9_in_the_middle_of_a_thousand_messages(database_url, tmp_path) -> None:
    """kill -9 of dispatch amid 1,000 messages, then a restart: all end, and only messages with an unknown attempt went
    out twice.
    """
    config_port, dispatch_port = free_port(), free_port()
    config, dispatch = f"127.0.0.1:{config_port}", f"127.0.0.1:{dispatch_port}"
    environ = environment(database_url, config_port, dispatch_port)
    async with AsyncExitStack() as stack:
        # The provider is the oracle outside the system: it counts what it took, whatever dispatch remembers.
        # So slow that calls are open whenever the kill comes.
        vendor = await stack.enter_async_context(VendorServer(default=Reply(status=202, delay=1.0)))
        await stack.enter_async_context(process("config", environ=environ, log=tmp_path / "config.log"))
        service = await stack.enter_async_context(process("dispatch", environ=environ, log=tmp_path / "dispatch.log"))
        await until_serving(config)
        await until_serving(dispatch)
        await add_provider(config, "first", vendor.url, 1)
        await add_provider(config, "second", vendor.url, 2)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(dispatch))
        messages = DispatchServiceStub(channel)

        accepting = asyncio.create_task(ids_of(messages))
        await eventually(lambda: len(vendor.received) >= 100, seconds=30)
        ids = await accepting
        await service.kill()
        killed_at = len(vendor.received)
        await service.start()
        await until_serving(dispatch)
        ended = [await ending(messages, message_id) for message_id in ids]

    assert killed_at < MESSAGES, "the kill came too late to prove anything"
    assert {message.state for message in ended} <= set(ENDED)
    taken = Counter(map(message_id_of, vendor.received))
    assert set(taken) == set(ids)
    twice = {message_id for message_id, count in taken.items() if count > 1}
    unknown = {message.id for message in ended if has_unknown(message)}
    assert unknown, "no attempt was cut short: the kill proved nothing"
    assert twice <= unknown


def has_unknown(message: message_pb2.Message) -> bool:
    """Whether an attempt of the message was marked unknown."""
    return any(attempt.outcome == Attempt.OUTCOME_UNKNOWN for attempt in message.attempts)


async def ending(messages: "DispatchServiceAsyncStub", message_id: str) -> message_pb2.Message:
    """The message once its dispatch has ended."""
    request = pb.WatchMessageRequest(message_id=message_id)
    async for _ in messages.WatchMessage(request, metadata=metadata()):
        pass
    return await messages.GetMessage(pb.GetMessageRequest(id=message_id), metadata=metadata())
