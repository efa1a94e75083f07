"""Two ConfigServices on one database, each with a dispatcher of its own, for tests of what every replica must know. No
test.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from messagepipe.config.v1 import project_service_pb2 as pb2
from messagepipe.config.v1.config_service_pb2_grpc import ConfigServiceStub
from messagepipe.config.v1.project_service_pb2_grpc import ProjectServiceStub
from messagepipe.config.v1.template_service_pb2_grpc import TemplateServiceStub
from messagepipe.dispatch.v1 import dispatch_service_pb2, message_pb2
from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceStub

from services.adapters.base import Channel
from services.chassis.clock import SystemClock
from services.chassis.env import SecretText
from services.chassis.errors import ServiceError
from services.chassis.status import from_rpc_error
from services.dispatch.app import open_dispatch
from services.dispatch.settings import DispatchSettings
from tests.fakes.adapter import ScriptedAdapter, scripted_adapters
from tests.integration.rig import EMAIL, PROJECT, auth_settings, metadata, open_config_for_tests

NO_MESSAGE = "01920000-0000-7000-8000-000000000000"


def with_key(key: str) -> tuple[tuple[str, str], ...]:
    """The metadata of a call with an API key."""
    return (("x-api-key", key),)


@dataclass
class Side:
    """A ConfigService and the dispatcher that is connected to it; `stop_config` ends the former."""

    config: Any
    projects: Any
    templates: Any
    messages: Any
    adapters: Mapping[str, ScriptedAdapter]
    stop_config: Any = field(repr=False)

    async def new_key(self, project: str = PROJECT) -> pb2.CreateApiKeyResponse:
        """A new key of the project."""
        request = pb2.CreateApiKeyRequest(project_id=project, name="Web shop")
        made: pb2.CreateApiKeyResponse = await self.projects.CreateApiKey(request, metadata=metadata(project))
        return made

    async def deactivate(self, key: pb2.CreateApiKeyResponse, *, active: bool = False) -> None:
        """The key does not work any more, or again."""
        request = pb2.UpdateApiKeyRequest(project_id=key.project_id, id=key.id, is_active=active)
        await self.projects.UpdateApiKey(request, metadata=metadata(key.project_id))

    async def judged(self, key: str) -> str:
        """What the dispatcher says of the key: "good", or the reason it gives. A good key finds no such message."""
        request = dispatch_service_pb2.GetMessageRequest(id=NO_MESSAGE)
        error = await refusal(self.messages.GetMessage(request, metadata=with_key(key)))
        return "good" if error.reason == "MESSAGE_NOT_FOUND" else error.reason

    async def send(self, key: str, **fields: Any) -> Any:
        """A message sent with the key."""
        given = {"to": "ada@example.com", "subject": "Hello", "text": "Hello.", "sender": "a@example.com", **fields}
        request = dispatch_service_pb2.SendMessageRequest(message=message_pb2.MessageSpec(channel=EMAIL, **given))
        return await self.messages.SendMessage(request, metadata=with_key(key))


@dataclass
class TwoOfEach:
    """Both sides."""

    a: Side
    b: Side


async def refusal(call: Any) -> ServiceError:
    """The error of a call; fails when it answers."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


@asynccontextmanager
async def two_of_each(database_url: str) -> AsyncIterator[TwoOfEach]:
    """All four, ready; stopped at the end of the block."""
    async with AsyncExitStack() as stack:
        sides = [await _side(database_url, stack) for _ in range(2)]
        yield TwoOfEach(*sides)


async def _side(database_url: str, stack: AsyncExitStack) -> Side:
    adapters = scripted_adapters("AB", SystemClock())
    alive = await stack.enter_async_context(AsyncExitStack())
    config = await alive.enter_async_context(open_config_for_tests(database_url, adapters))
    settings = DispatchSettings(
        database_url=SecretText(database_url),
        auth=auth_settings(),
        dispatch_port=0,
        config_target=config.address,
        drain_grace=2.0,
    )
    by_kind = {(Channel.EMAIL, adapter.spec.kind): adapter for adapter in adapters.values()}
    dispatch = await stack.enter_async_context(open_dispatch(settings, adapters=by_kind, readers={}))
    there = await stack.enter_async_context(grpc.aio.insecure_channel(config.address))
    here = await stack.enter_async_context(grpc.aio.insecure_channel(dispatch.address))
    return Side(
        config=ConfigServiceStub(there),
        projects=ProjectServiceStub(there),
        templates=TemplateServiceStub(there),
        messages=DispatchServiceStub(here),
        adapters=adapters,
        stop_config=alive.aclose,
    )
